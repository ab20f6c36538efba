import fc from 'fast-check';
import { BundleSizer, bundle_shards_max, bundle_target_ms } from './bundle-size.js';

const plenty = 1_000_000;

describe('BundleSizer', () => {
  it('starts with one shard and grows at most sixteenfold at a time, up to its limit', () => {
    const sizer = new BundleSizer();
    const sizes = [sizer.next(plenty, 4)];
    for (let i = 0; i < 6; i++) {
      sizer.observe(sizes.at(-1)!, 0);
      sizes.push(sizer.next(plenty, 4));
    }
    expect(sizes).toEqual([1, 16, 256, 512, 512, 512, 512]);
    expect(sizes.at(-1)).toBe(bundle_shards_max);
  });

  it('aims at its target once it knows the shards', () => {
    const sizer = new BundleSizer();
    for (let i = 0; i < 20; i++) sizer.observe(10, 50);
    expect(sizer.next(plenty, 1)).toBe(bundle_target_ms / 5);
  });

  it('falls back to single shards when they turn slow', () => {
    const sizer = new BundleSizer();
    for (let i = 0; i < 10; i++) sizer.observe(100, 10);
    expect(sizer.next(plenty, 1)).toBe(bundle_shards_max);
    sizer.observe(1, 5_000);
    expect(sizer.next(plenty, 1)).toBe(1);
  });

  it('learns nothing from no shards', () => {
    const sizer = new BundleSizer();
    sizer.observe(0, 0);
    expect(sizer.next(plenty, 1)).toBe(1);
  });

  it('spreads the last shards over all slots', () => {
    const sizer = new BundleSizer();
    for (let i = 0; i < 10; i++) sizer.observe(10, 50);
    expect(sizer.next(8, 4)).toBe(2);
    expect(sizer.next(3, 4)).toBe(1);
    expect(sizer.next(10, 0)).toBe(10);
  });

  it('does not spread shards so tiny that they would be done before they were spread', () => {
    const sizer = new BundleSizer();
    for (let i = 0; i < 10; i++) sizer.observe(100, 1);
    expect(sizer.next(400, 4)).toBe(400);
    expect(sizer.next(3, 4)).toBe(3);
  });

  it('keeps more bundles in flight when they are over soon', () => {
    const sizer = new BundleSizer();
    expect(sizer.ahead()).toBe(2);
    sizer.observe(1, 5_000);
    expect(sizer.ahead()).toBe(2);
    const fast = new BundleSizer();
    for (let i = 0; i < 5; i++) fast.observe(bundle_shards_max, 20);
    expect(fast.ahead()).toBe(Math.floor(bundle_target_ms / 20));
    for (let i = 0; i < 50; i++) fast.observe(bundle_shards_max, 0.1);
    expect(fast.ahead()).toBe(8);
  });

  it('gives a whole number within its limits, whatever it is told', () => {
    const told = fc.tuple(fc.nat(300), fc.double({ min: 0, max: 1e9, noNaN: true }));
    fc.assert(
      fc.property(fc.array(told, { maxLength: 30 }), fc.nat(2_000), fc.nat(64), (seen, waiting, slots) => {
        const sizer = new BundleSizer();
        for (const [shards, total_ms] of seen) sizer.observe(shards, total_ms);
        const size = sizer.next(waiting, slots);
        expect(Number.isInteger(size)).toBe(true);
        expect(size).toBeGreaterThanOrEqual(1);
        expect(size).toBeLessThanOrEqual(bundle_shards_max);
      }),
    );
  });
});
