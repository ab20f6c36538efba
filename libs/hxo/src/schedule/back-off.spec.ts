import fc from 'fast-check';
import { backOff } from './back-off.js';

const policies = fc
  .tuple(fc.integer({ min: 0, max: 60_000 }), fc.integer({ min: 0, max: 600_000 }))
  .map(([backoff_ms, backoff_max_ms]) => ({ max_failures: 3, backoff_ms, backoff_max_ms }));
const failures = fc.integer({ min: 1, max: 2_000 });
const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe('backOff', () => {
  it('stays in the upper half of the doubled delay, under its maximum', () => {
    fc.assert(
      fc.property(policies, failures, random, (policy, n, r) => {
        const full = Math.min(policy.backoff_max_ms, policy.backoff_ms * 2 ** Math.min(n - 1, 30));
        const delay = backOff(policy, n, r);
        expect(Number.isSafeInteger(delay)).toBe(true);
        expect(delay).toBeGreaterThanOrEqual(Math.floor(full / 2));
        expect(delay).toBeLessThanOrEqual(policy.backoff_max_ms);
        if (n <= 31) expect(delay).toBeLessThanOrEqual(Math.ceil(full));
      }),
    );
  });

  it('never shrinks with more failures, for the same luck', () => {
    fc.assert(
      fc.property(policies, failures, random, (policy, n, r) => {
        expect(backOff(policy, n + 1, r)).toBeGreaterThanOrEqual(backOff(policy, n, r));
      }),
    );
  });

  it('doubles from backoff_ms to backoff_max_ms', () => {
    const policy = { max_failures: 9, backoff_ms: 500, backoff_max_ms: 3_000 };
    const luckiest = [1, 2, 3, 4, 5].map((n) => backOff(policy, n, 0));
    expect(luckiest).toEqual([250, 500, 1_000, 1_500, 1_500]);
  });
});
