import { Worker } from 'node:worker_threads';
import { BackgroundError } from '#hxo';
import type { Answer, Call, Taken } from './protocol.js';

/** Short-lived objects are most of what a thread makes: more room for them costs memory, and saves no time. */
const resourceLimits = { maxYoungGenerationSizeMb: 8 };

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (reason: unknown) => void;
  readonly take: (part: unknown) => Promise<void>;
  /** Parts are taken one after the other. */
  taking: Promise<void>;
}

/** How a call is followed: who takes its parts, and what ends it. */
export interface Following {
  readonly take?: Waiting['take'];
  readonly signal?: AbortSignal;
}

/** A thread that serves calls, started at the first one unless {@link start} did it before, and again after it died. */
export class CallingThread {
  private thread: Worker | null = null;
  private closed = false;
  private last_id = 0;
  private readonly waiting = new Map<number, Waiting>();

  constructor(
    private readonly script: URL,
    private readonly data: unknown,
  ) {}

  /** Rejects with what the thread or `take` threw, or at once with the signal's reason. */
  async call<T>(method: string, argument: unknown, { take, signal }: Following = {}): Promise<T> {
    if (this.closed) throw new BackgroundError('Closed', 'HXO is stopping.');
    signal?.throwIfAborted();
    const id = ++this.last_id;
    const stop = (): void => this.giveUp(id, signal!.reason);
    signal?.addEventListener('abort', stop);
    try {
      return (await new Promise<unknown>((resolve, reject) => {
        const waiting = { resolve, reject, take: take ?? (async () => {}), taking: Promise.resolve() };
        this.waiting.set(id, waiting);
        this.start().postMessage({ id, method, argument } satisfies Call);
      })) as T;
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }

  /** Ends the thread; calls under way are rejected. */
  async close(): Promise<void> {
    this.closed = true;
    await this.thread?.terminate();
  }

  /** Starts the thread unless it runs; nobody need wait for it. */
  start(): Worker {
    if (this.thread !== null) return this.thread;
    const thread = new Worker(this.script, { workerData: this.data, resourceLimits });
    this.thread = thread;
    thread.on('message', (answer: Answer) => this.hear(thread, answer));
    thread.on('error', (error: Error) => this.bury(thread, error.message));
    thread.on('exit', () => this.bury(thread, 'The background thread has ended.'));
    return thread;
  }

  private hear(thread: Worker, answer: Answer): void {
    const { id } = answer;
    const waiting = this.waiting.get(id);
    if (waiting === undefined) return;
    if ('part' in answer) {
      waiting.taking = waiting.taking
        .then(() => (this.waiting.has(id) ? waiting.take(answer.part) : undefined))
        .then(
          () => thread.postMessage({ id, ok: true } satisfies Taken),
          (error: unknown) => this.giveUp(id, error),
        );
      return;
    }
    void waiting.taking.then(() => this.end(id, answer));
  }

  /** The answer is complete: every part of it is taken. */
  private end(id: number, answer: Exclude<Answer, { readonly part: unknown }>): void {
    const waiting = this.waiting.get(id);
    if (waiting === undefined) return;
    this.waiting.delete(id);
    if ('result' in answer) waiting.resolve(answer.result);
    else waiting.reject(new BackgroundError(answer.error.name, answer.error.message, answer.error.code));
  }

  /** The caller's own error is what it gets; the thread only learns that it may stop. */
  private giveUp(id: number, reason: unknown): void {
    const waiting = this.waiting.get(id);
    if (waiting === undefined) return;
    this.waiting.delete(id);
    waiting.reject(reason);
    this.thread?.postMessage({ id, ok: false } satisfies Taken);
  }

  private bury(thread: Worker, message: string): void {
    if (this.thread !== thread) return;
    this.thread = null;
    for (const { reject } of this.waiting.values()) reject(new BackgroundError('ThreadDied', message));
    this.waiting.clear();
  }
}
