import type { RetryPolicy } from '../plan/plan-spec.js';

/**
 * How long to wait before a retry, in milliseconds: `backoff_ms` doubled for each failure after the first, at most
 * `backoff_max_ms`, then spread over its upper half so that shards that failed together do not come back together.
 *
 * @param failures executor errors so far, from 1
 * @param random a number in [0, 1)
 */
export function backOff(policy: RetryPolicy, failures: number, random: number): number {
  const full = Math.min(policy.backoff_max_ms, policy.backoff_ms * 2 ** Math.min(failures - 1, 30));
  return Math.round(full / 2 + (full / 2) * random);
}
