/** How `hxo` ends. Stable: scripts may depend on them. */
export const exit_codes = {
  ok: 0,
  failed: 1,
  usage: 2,
  unreachable: 3,
  refused: 4,
  server_error: 5,
  interrupted: 130,
} as const;

export type ExitCode = (typeof exit_codes)[keyof typeof exit_codes];

/** For `--help` and the operations guide. */
export const exit_code_help = `Exit codes:
  0    ok
  1    the plan failed or was aborted; a verification or a check failed
  2    wrong usage: arguments, options, settings or an unreadable file
  3    the server cannot be reached
  4    the server refused the request (4xx)
  5    the server failed (5xx)
  130  interrupted`;

/** Thrown to end the command with a message for people. `code` is stable, upper case. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  constructor(
    readonly exit_code: ExitCode,
    readonly code: string,
    message: string,
    /** Fields that the server found wrong. */
    readonly errors: readonly { readonly field: string; readonly message: string }[] = [],
  ) {
    super(message);
  }
}

/** Thrown when arguments or files given by the user cannot be used. */
export class UsageError extends CommandError {
  constructor(message: string) {
    super(exit_codes.usage, 'USAGE', message);
  }
}

/** Thrown when no answer came: the server is down, restarting, or elsewhere. */
export class ServerUnreachable extends CommandError {
  constructor(url: string, reason: string) {
    super(
      exit_codes.unreachable,
      'SERVER_UNREACHABLE',
      `No HXO server answers at ${url} (${reason}). Start one with "npm start", or give --url or HXO_URL.`,
    );
  }
}
