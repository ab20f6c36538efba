/**
 * A signal that aborts with another one, or when its time is over. AbortSignal.any would do, but Node 20 lets a timeout that is
 * only part of one be collected as garbage, and then it never comes.
 */
export class Deadline {
  private readonly controller = new AbortController();
  private timer: NodeJS.Timeout | undefined;
  private readonly follow = (): void => this.controller.abort(this.other.reason);

  constructor(private readonly other: AbortSignal) {
    if (other.aborted) this.follow();
    else other.addEventListener('abort', this.follow, { once: true });
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Begins to count, once. */
  start(after_ms: number): void {
    const late = (): void => this.controller.abort(new DOMException('Its time is over.', 'TimeoutError'));
    this.timer ??= setTimeout(late, after_ms);
  }

  /** To be called when what it limits has ended. */
  clear(): void {
    clearTimeout(this.timer);
    this.other.removeEventListener('abort', this.follow);
  }
}
