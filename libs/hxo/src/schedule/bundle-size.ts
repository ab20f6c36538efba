/** What a bundle's work should take, in milliseconds: long enough to hide dispatch, short enough to lose. */
export const bundle_target_ms = 100;
/** More would be no faster: throughput no longer grows beyond this, only what a lost lease repeats. */
export const bundle_shards_max = 512;
/** The last shards of a stage are spread over all slots, but not in bundles of less work than this, in milliseconds. */
const bundle_least_ms = 5;
/** Bundles in flight for each slot, at least and at most. */
const bundles_ahead_min = 2;
const bundles_ahead_max = 8;
/** A stage that has just shown itself fast grows by this at a time, so that one lucky shard misleads little. */
const growth = 16;

/**
 * Learns how many shards of a stage make a bundle of about {@link bundle_target_ms}. Starts at one shard, and follows an
 * exponentially weighted mean of the shards' durations.
 */
export class BundleSizer {
  private mean_ms: number | null = null;
  private size = 1;

  /** Learns from finished shards that took `total_ms` together. */
  observe(shards: number, total_ms: number): void {
    if (shards === 0) return;
    const mean = total_ms / shards;
    this.mean_ms = this.mean_ms === null ? mean : this.mean_ms * 0.7 + mean * 0.3;
    const wanted = Math.floor(
      bundle_target_ms / Math.max(this.mean_ms, bundle_target_ms / bundle_shards_max),
    );
    this.size = Math.max(1, Math.min(wanted, this.size * growth, bundle_shards_max));
  }

  /**
   * Bundles to keep in flight for each slot: one that runs and one ahead, or as many as make {@link bundle_target_ms} of
   * work when the largest bundle is over sooner. So the way to the worker and back, which takes about that long when
   * it goes over a network and a commit, leaves no slot idle.
   */
  ahead(): number {
    if (this.mean_ms === null) return bundles_ahead_min;
    const bundle_ms = Math.max(this.mean_ms * this.size, 0.001);
    return Math.max(bundles_ahead_min, Math.min(bundles_ahead_max, Math.floor(bundle_target_ms / bundle_ms)));
  }

  /** Is it known that the next bundle takes no longer than about {@link bundle_target_ms}? */
  soonOver(): boolean {
    return this.mean_ms !== null && this.mean_ms * this.size <= bundle_target_ms;
  }

  /**
   * Shards for the next bundle.
   * @param waiting shards that wait for a lease; the last of them are spread over all `slots`
   */
  next(waiting: number, slots: number): number {
    const least = this.mean_ms === null ? 1 : bundle_least_ms / Math.max(this.mean_ms, 0.001);
    const spread = Math.max(Math.ceil(waiting / Math.max(1, slots)), Math.floor(least));
    return Math.max(1, Math.min(this.size, waiting, spread));
  }
}
