/** What a bundle's work should take, in milliseconds: long enough to hide dispatch, short enough to lose. */
export const bundle_target_ms = 100;
/** More would be no faster: throughput no longer grows beyond this, only what a lost lease repeats. */
export const bundle_shards_max = 256;
/** A stage that has just shown itself fast grows by this at a time, so that one lucky shard misleads little. */
const growth = 4;

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
   * Shards for the next bundle.
   * @param waiting shards that wait for a lease; the last of them are spread over all `slots`
   */
  next(waiting: number, slots: number): number {
    return Math.max(1, Math.min(this.size, Math.ceil(waiting / Math.max(1, slots))));
  }
}
