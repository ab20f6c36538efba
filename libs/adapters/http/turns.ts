/** Callers of one origin that wait for their turn. */
interface Queue {
  under_way: number;
  readonly waiting: { readonly most: number; readonly start: () => void }[];
}

/**
 * Lets so many requests to one origin be under way at once, in the order in which they came. It counts within one thread
 * or process only: over a fleet, the limit holds for each member of each pool.
 */
export class OriginTurns {
  private readonly queues = new Map<string, Queue>();

  /** Runs `work` when fewer than `most` of this origin are under way. Rejects with the signal's reason while it waits. */
  async run<T>(origin: string, most: number, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    const queue = this.queueOf(origin);
    if (queue.under_way >= most || queue.waiting.length > 0) await turn(queue, most, signal);
    else queue.under_way++;
    try {
      return await work();
    } finally {
      queue.under_way--;
      admit(queue);
      if (queue.under_way === 0 && queue.waiting.length === 0) this.queues.delete(origin);
    }
  }

  private queueOf(origin: string): Queue {
    const queue = this.queues.get(origin) ?? { under_way: 0, waiting: [] };
    this.queues.set(origin, queue);
    return queue;
  }
}

/** Resolves when it is one's turn, which then counts as under way. */
function turn(queue: Queue, most: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const waiting = {
      most,
      start: () => {
        signal.removeEventListener('abort', give_up);
        resolve();
      },
    };
    const give_up = (): void => {
      queue.waiting.splice(queue.waiting.indexOf(waiting), 1);
      reject(signal.reason as Error);
      admit(queue);
    };
    signal.addEventListener('abort', give_up, { once: true });
    queue.waiting.push(waiting);
  });
}

function admit(queue: Queue): void {
  for (
    let next = queue.waiting[0];
    next !== undefined && queue.under_way < next.most;
    next = queue.waiting[0]
  ) {
    queue.waiting.shift();
    queue.under_way++;
    next.start();
  }
}
