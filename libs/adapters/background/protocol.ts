/** Messages between the main thread and the background thread. `id` numbers calls. */

export interface Call {
  readonly id: number;
  readonly method: string;
  readonly argument: unknown;
}

/** The caller has taken a part; `ok` false, which may come at any time, ends the call. */
export interface Taken {
  readonly id: number;
  readonly ok: boolean;
}

export type Answer =
  | { readonly id: number; readonly part: unknown }
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: Failure };

/** An error as it crosses threads. `code` is that of a failed system call, such as `ENOSPC`. */
export interface Failure {
  readonly name: string;
  readonly message: string;
  readonly code: string | undefined;
}

/**
 * Answers a call. `emit` sends a part of a long answer and resolves when the caller has taken it; `signal` is aborted when
 * the caller wants no more.
 */
export type Handler = (
  argument: unknown,
  emit: (part: unknown) => Promise<void>,
  signal: AbortSignal,
) => Promise<unknown>;
