/** Retries wait in buckets of this width: a million of them are a few timers, not a million. */
const bucket_ms = 50;

/** Work that comes due later. One timer for all, unreferenced, so that it keeps no process alive. */
export class RetryQueue {
  private readonly buckets = new Map<number, (() => void)[]>();
  private timer: NodeJS.Timeout | null = null;

  constructor(private readonly monotonic_ms: () => number) {}

  /** Calls `then` once `delay_ms` are over, at most two buckets late, never early. */
  after(delay_ms: number, then: () => void): void {
    const bucket = Math.ceil((this.monotonic_ms() + delay_ms) / bucket_ms);
    const waiting = this.buckets.get(bucket);
    if (waiting === undefined) this.buckets.set(bucket, [then]);
    else waiting.push(then);
    this.timer ??= setInterval(() => this.ring(), bucket_ms).unref();
  }

  stop(): void {
    if (this.timer !== null) clearInterval(this.timer);
    this.timer = null;
    this.buckets.clear();
  }

  private ring(): void {
    const now = this.monotonic_ms() / bucket_ms;
    for (const [bucket, waiting] of this.buckets) {
      if (bucket > now) continue;
      this.buckets.delete(bucket);
      for (const then of waiting) then();
    }
    if (this.buckets.size === 0) this.stop();
  }
}
