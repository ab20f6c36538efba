/** Messages between the main thread and the background thread. `id` numbers calls. */

export interface Call {
  readonly id: number;
  readonly method: string;
  readonly argument: unknown;
}

/** The caller has taken a part; `ok` false ends the call. */
export interface Taken {
  readonly id: number;
  readonly ok: boolean;
}

export type Answer =
  | { readonly id: number; readonly part: unknown }
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: { readonly name: string; readonly message: string } };

/** Answers a call; `emit` sends a part of a long answer and resolves when the caller has taken it. */
export type Handler = (argument: unknown, emit: (part: unknown) => Promise<void>) => Promise<unknown>;
