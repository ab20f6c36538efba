/** Calls back when nothing has happened for a while. Keeps no process alive. */
export class IdleTimer {
  #timer: NodeJS.Timeout | undefined;
  #busy = 0;

  constructor(
    private readonly idle_ms: number,
    private readonly onIdle: () => void,
  ) {}

  /** Runs some work during which nothing counts as idle. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    clearTimeout(this.#timer);
    this.#busy++;
    try {
      return await work();
    } finally {
      this.#busy--;
      if (this.#busy === 0) this.#timer = setTimeout(this.onIdle, this.idle_ms).unref();
    }
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
