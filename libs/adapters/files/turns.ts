import { setImmediate } from 'node:timers/promises';

/** Synchronous work that may be done between two turns of the event loop, in milliseconds. */
const turn_ms = 5;

/**
 * Lets the event loop turn now and then while files are listed and read synchronously, so that other calls of the same
 * thread, and the message that ends this one, come through. Asking whether one is due costs a look at the clock.
 */
export class Turns {
  private last = performance.now();

  constructor(private readonly signal?: AbortSignal) {}

  due(): boolean {
    return performance.now() - this.last > turn_ms;
  }

  /** Throws the signal's reason once it is aborted. */
  async take(): Promise<void> {
    await setImmediate();
    this.last = performance.now();
    this.signal?.throwIfAborted();
  }
}
