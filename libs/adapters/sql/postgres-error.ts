import { TargetError, type TargetErrorCode } from '#hxo/execute';

/** By SQLSTATE (appendix A of PostgreSQL's manual), whole or by its class. */
const codes: readonly (readonly [RegExp, TargetErrorCode])[] = [
  [/^(08|53|57P0|58)/, 'TARGET_UNREACHABLE'],
  [/^(28|3D)/, 'TARGET_REFUSED'],
  [/^(40001|40P01)$/, 'TARGET_CONFLICT'],
  [/^55P03$/, 'TARGET_LOCKED'],
  [/^57014$/, 'STATEMENT_TIMEOUT'],
  // In a transaction block; a new value of an enum used before its commit.
  [/^(25001|55P04)$/, 'NEEDS_NO_TRANSACTION'],
];

/**
 * An error of pg in HXO's terms. Errors of connecting are told by their code alone, for their texts name users and hosts;
 * those of statements in the server's own words, less anything of the URL.
 */
export function postgresError(name: string, variable: string, error: unknown, url: string): unknown {
  if (error instanceof TargetError) return error;
  const {
    code,
    message = '',
    severity,
  } = error as {
    readonly code?: string;
    readonly message?: string;
    readonly severity?: string;
  };
  const sqlstate = severity !== undefined && code !== undefined && /^[0-9A-Z]{5}$/.test(code);
  // The cause may hold the URL, and is left out: whoever logs errors logs causes.
  if (!sqlstate) {
    const why = code ?? (/timeout/i.test(message) ? 'no answer in time' : 'the connection was lost');
    return new TargetError(
      'TARGET_UNREACHABLE',
      `target ${name} cannot be reached (${why}). Check ${variable}, and that the database runs.`,
    );
  }
  const mapped = codes.find(([pattern]) => pattern.test(code))?.[1] ?? 'SQL_ERROR';
  if (mapped === 'TARGET_REFUSED') {
    return new TargetError(
      mapped,
      `target ${name} refuses the connection (${code}). Check user, password and database in ${variable}.`,
    );
  }
  return new TargetError(mapped, `target ${name}: ${withoutSecrets(message, url)} (${code})`);
}

function withoutSecrets(message: string, url: string): string {
  let password = '';
  try {
    password = new URL(url).password;
  } catch {
    // Not a URL that can be taken apart: then the whole of it is the only thing to look for.
  }
  return [url, password, safelyDecoded(password)]
    .filter((secret) => secret.length > 0)
    .reduce((text, secret) => text.replaceAll(secret, '[redacted]'), message);
}

function safelyDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
