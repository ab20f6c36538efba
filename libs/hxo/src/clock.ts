/** Time as the engine gets it. Durations and deadlines use the monotonic clock, which no administrator can set back. */
export interface Clock {
  /** UTC milliseconds since 1970. */
  now_ms(): number;
  /** Milliseconds since an arbitrary moment; never falls. */
  monotonic_ms(): number;
}

export const system_clock: Clock = {
  now_ms: () => Date.now(),
  monotonic_ms: () => performance.now(),
};

/** UTC milliseconds as ISO 8601 in whole seconds: `2025-10-11T20:00:00Z`. */
export function utcSeconds(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
