import { setTimeout as sleep } from 'node:timers/promises';
import { isTerminal, type StatusView } from '#hxo';
import { CommandError, exit_codes, ServerUnreachable } from './exit-codes.js';
import type { ProgressDisplay } from './progress.js';

const poll_interval_ms = 300;
const backoff_first_ms = 500;
const backoff_max_ms = 10_000;
/** Long enough for any restart; a script must not wait for ever on a server that is gone. */
const unreachable_max_ms = 600_000;

export interface WatchOptions {
  readonly display: ProgressDisplay;
  /** Told, in one sentence each, when the server goes away and when it is back. */
  readonly note: (text: string) => void;
  /** Ends the watch with an AbortError. The plan goes on. */
  readonly signal?: AbortSignal;
}

/**
 * Follows a plan until it ends and returns its last status. A server that restarts meanwhile is waited for;
 * one that does not answer the first question is an error.
 */
export async function watchPlan(
  client: { status(planId: string): Promise<StatusView> },
  planId: string,
  options: WatchOptions,
): Promise<StatusView> {
  let status = await client.status(planId);
  try {
    options.display.show(status);
    while (!isTerminal(status.phase)) {
      await sleep(poll_interval_ms, undefined, { signal: options.signal });
      status = await patiently(() => client.status(planId), options);
      options.display.show(status);
    }
  } finally {
    options.display.end();
  }
  return status;
}

/**
 * Asks until an answer comes, with exponential back-off while the server is away or overloaded, for about `patience_ms`
 * at most (10 minutes by default).
 */
export async function patiently<Answer>(
  ask: () => Promise<Answer>,
  options: Pick<WatchOptions, 'note' | 'signal'> & { readonly patience_ms?: number },
): Promise<Answer> {
  const { patience_ms = unreachable_max_ms } = options;
  let backoff_ms = backoff_first_ms;
  for (let waited_ms = 0; ; waited_ms += backoff_ms, backoff_ms = Math.min(2 * backoff_ms, backoff_max_ms)) {
    try {
      const value = await ask();
      if (waited_ms > 0) options.note('The server is back.');
      return value;
    } catch (error) {
      if (!isPassing(error) || waited_ms >= patience_ms) throw error;
      if (waited_ms === 0) options.note(`${error.message} Trying again until it is back.`);
    }
    await sleep(backoff_ms, undefined, { signal: options.signal });
  }
}

/** Is this what a restart or an overload looks like from outside? */
function isPassing(error: unknown): error is CommandError {
  return (
    error instanceof ServerUnreachable ||
    (error instanceof CommandError && error.exit_code === exit_codes.server_error)
  );
}
