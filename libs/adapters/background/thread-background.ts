import type { Digest, Json } from '#truth';
import type {
  ArtifactRef,
  Background,
  PartitionOrder,
  PartitionSummary,
  PlanKey,
  ReceiptOrder,
  SearchHits,
  SearchOrder,
  Seal,
  SegmentDraft,
} from '#hxo';
import { CallingThread } from './calling-thread.js';

/**
 * Background work in three threads: one partitions, which hashes for as long as the workspace is large, one does what plans
 * at their end and people wait for, and one searches, which has the indexes in memory and may be busy loading a large one.
 * Each has a script of its own, for what a script loads is what its thread takes to start. A thread is started at its first
 * call unless {@link start} did so before, and again after it died.
 */
export class ThreadBackground implements Background {
  private readonly partitioning: CallingThread;
  private readonly answering: CallingThread;
  private readonly searching: CallingThread;
  private checkpointing = false;

  /**
   * @param scripts folder of `partitioning-thread.js`, `answering-thread.js` and `searching-thread.js`, each of which calls
   *   `serveBackground`
   * @param data what they need, given as their workerData
   */
  constructor(scripts: URL, data: unknown) {
    this.partitioning = new CallingThread(new URL('partitioning-thread.js', scripts), data);
    this.answering = new CallingThread(new URL('answering-thread.js', scripts), data);
    this.searching = new CallingThread(new URL('searching-thread.js', scripts), data);
  }

  /** Starts the threads that every plan needs, so that the first one does not wait a quarter of a second for each of them. */
  start(): void {
    this.partitioning.start();
    this.answering.start();
  }

  partition(
    order: PartitionOrder,
    onSegments: (segments: readonly SegmentDraft[]) => Promise<void>,
    signal: AbortSignal,
  ): Promise<PartitionSummary> {
    const take = (part: unknown): Promise<void> => onSegments(part as readonly SegmentDraft[]);
    return this.partitioning.call('partition', order, { take, signal });
  }

  verifyArtifacts(
    digests: readonly Digest[],
  ): Promise<{ readonly missing: Digest[]; readonly corrupt: Digest[] }> {
    return this.answering.call('verifyArtifacts', digests);
  }

  gatherResults({ plan_no, revision }: PlanKey, stage_no: number): Promise<ArtifactRef> {
    return this.answering.call('gatherResults', { plan_no, revision, stage_no });
  }

  hashAhead({ plan_no, revision }: PlanKey): Promise<boolean> {
    return this.answering.call('hashAhead', { plan_no, revision });
  }

  sealPlan({ plan_no, revision }: PlanKey): Promise<Seal> {
    return this.answering.call('sealPlan', { plan_no, revision });
  }

  makeReceipt(order: ReceiptOrder): Promise<Json> {
    return this.answering.call('makeReceipt', order);
  }

  search(order: SearchOrder): Promise<SearchHits> {
    return this.searching.call('search', order);
  }

  /** Has the store's log written back, unless that is under way. Whether it succeeds shows in the log's length. */
  async checkpointStore(): Promise<void> {
    if (this.checkpointing) return;
    this.checkpointing = true;
    await this.answering.call('checkpointStore', null).catch(() => {});
    this.checkpointing = false;
  }

  /** Ends the threads; calls under way are rejected. */
  async close(): Promise<void> {
    await Promise.all([this.partitioning.close(), this.answering.close(), this.searching.close()]);
  }
}
