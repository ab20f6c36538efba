import { Worker } from 'node:worker_threads';
import type { Digest, Json } from '#truth';
import {
  BackgroundError,
  type ArtifactRef,
  type Background,
  type PartitionSummary,
  type PlanKey,
  type ReceiptOrder,
  type Seal,
  type SegmentDraft,
  type StageSpec,
} from '#hxo';
import type { Answer, Call, Taken } from './protocol.js';

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (reason: unknown) => void;
  readonly take: (part: unknown) => Promise<void>;
}

/** Background work in a thread of its own, started at the first call, and again after it died. */
export class ThreadBackground implements Background {
  private thread: Worker | null = null;
  private closed = false;
  private last_id = 0;
  private readonly waiting = new Map<number, Waiting>();

  /**
   * @param script module that calls `serveBackground`
   * @param data what it needs, given as its workerData
   */
  constructor(
    private readonly script: URL,
    private readonly data: unknown,
  ) {}

  partition(
    stage: StageSpec,
    executor_version: string,
    onSegments: (segments: readonly SegmentDraft[]) => Promise<void>,
  ): Promise<PartitionSummary> {
    const take = (part: unknown): Promise<void> => onSegments(part as readonly SegmentDraft[]);
    return this.call('partition', { stage, executor_version }, take);
  }

  verifyArtifacts(
    digests: readonly Digest[],
  ): Promise<{ readonly missing: Digest[]; readonly corrupt: Digest[] }> {
    return this.call('verifyArtifacts', digests);
  }

  gatherResults({ plan_no, revision }: PlanKey, stage_no: number): Promise<ArtifactRef> {
    return this.call('gatherResults', { plan_no, revision, stage_no });
  }

  sealPlan({ plan_no, revision }: PlanKey): Promise<Seal> {
    return this.call('sealPlan', { plan_no, revision });
  }

  makeReceipt(order: ReceiptOrder): Promise<Json> {
    return this.call('makeReceipt', order);
  }

  /** Ends the thread; calls under way are rejected. */
  async close(): Promise<void> {
    this.closed = true;
    await this.thread?.terminate();
  }

  private call<T>(method: string, argument: unknown, take: Waiting['take'] = async () => {}): Promise<T> {
    if (this.closed) return Promise.reject(new BackgroundError('Closed', 'HXO is stopping.'));
    const id = ++this.last_id;
    return new Promise<T>((resolve, reject) => {
      this.waiting.set(id, { resolve: resolve as (value: unknown) => void, reject, take });
      this.start().postMessage({ id, method, argument } satisfies Call);
    });
  }

  private start(): Worker {
    if (this.thread !== null) return this.thread;
    const thread = new Worker(this.script, { workerData: this.data });
    this.thread = thread;
    thread.on('message', (answer: Answer) => this.hear(thread, answer));
    thread.on('error', (error: Error) => this.bury(thread, error.message));
    thread.on('exit', () => this.bury(thread, 'The background thread has ended.'));
    return thread;
  }

  private hear(thread: Worker, answer: Answer): void {
    const waiting = this.waiting.get(answer.id);
    if (waiting === undefined) return;
    if ('part' in answer) {
      const taken = (ok: boolean): void => thread.postMessage({ id: answer.id, ok } satisfies Taken);
      waiting.take(answer.part).then(
        () => taken(true),
        (error: unknown) => {
          // The caller's own error is what it gets; the thread only learns that it may stop.
          this.waiting.delete(answer.id);
          waiting.reject(error);
          taken(false);
        },
      );
      return;
    }
    this.waiting.delete(answer.id);
    if ('result' in answer) waiting.resolve(answer.result);
    else waiting.reject(new BackgroundError(answer.error.name, answer.error.message));
  }

  private bury(thread: Worker, message: string): void {
    if (this.thread !== thread) return;
    this.thread = null;
    for (const { reject } of this.waiting.values()) reject(new BackgroundError('ThreadDied', message));
    this.waiting.clear();
  }
}
