/** What the server and the worker do alike: begin, listen, end. */
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { loadSettings, preparePlaces, SettingsError, type Program, type Settings } from '#settings';
import { createLog, type Log } from '#adapters/pino';

/** Exit code of a program that refuses to start. */
const exit_refused = 1;
/** Exit code of a program that could not end well. */
const exit_stop_failed = 1;

// Garbage is collected when the heap is two and a half times what it was after the last time. V8 lets it grow
// fourfold: that costs the API some 100 MB at a million shards.
setFlagsFromString('--heap-growing-percent=150');
// Each thread collects its own young objects: V8's helpers, shared by all of them, cost a sixth of the throughput
// on two cores.
setFlagsFromString('--no-parallel-scavenge');

/**
 * Runs a program by its settings. When it cannot start, one message says why and what to do, and it exits 1; where the
 * error came from stands in the log at HXO_LOG_LEVEL=debug.
 */
export async function start(
  program: Program,
  main: (settings: Settings, log: Log) => Promise<void>,
): Promise<void> {
  let log: Log | undefined;
  try {
    const settings = loadSettings(process.cwd(), program);
    preparePlaces(settings, program);
    log = createLog(settings);
    for (const warning of settings.warnings) log.warn(warning);
    await main(settings, log);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const refusal = `The ${program} refuses to start. ${message}`;
    if (log === undefined) process.stderr.write(`[HXO] ${refusal}\n`);
    else log.error(refusal);
    if (error instanceof Error) log?.debug(error.stack);
    process.exit(exit_refused);
  }
}

/**
 * Listens, and returns the URL. Throws SettingsError, naming `variable` or HXO_HOST, when the address cannot be had.
 */
export async function listen(
  server: Server,
  at: { readonly variable: 'HXO_PORT' | 'HXO_WORKER_PORT'; readonly port: number; readonly host: string },
): Promise<string> {
  const host = at.host.includes(':') ? `[${at.host}]` : at.host;
  server.listen(at.port, at.host);
  try {
    await once(server, 'listening');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const port = (allowed: string): SettingsError =>
      new SettingsError([{ variable: at.variable, value: String(at.port), allowed }]);
    if (code === 'EADDRINUSE') {
      throw port(
        `another program listens on ${host}:${at.port}. Stop it, or set another port; 0 takes any free one.`,
      );
    }
    if (code === 'EACCES')
      throw port('this user may not listen there. Set a port from 1024, or 0 for any free one.');
    const allowed = `nothing can listen there (${message}). Set an address of this machine, such as 127.0.0.1.`;
    throw new SettingsError([{ variable: 'HXO_HOST', value: at.host, allowed }]);
  }
  return `http://${host}:${(server.address() as AddressInfo).port}`;
}

/**
 * Ends the program well at the first SIGTERM or SIGINT: `stop` is called once, then the process exits 0; or 1 when `stop`
 * failed, which the log tells.
 */
export function stopOnSignal(log: Pick<Log, 'error'>, stop: (signal: string) => Promise<void>): void {
  let stopping = false;
  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.on(signal, () => {
      if (stopping) return;
      stopping = true;
      void stop(signal).then(
        () => process.exit(0),
        (error: unknown) => {
          log.error(
            'It could not stop well, and ends at once. The next start takes up what was left.',
            error,
          );
          process.exit(exit_stop_failed);
        },
      );
    });
  }
}
