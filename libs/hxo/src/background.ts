import type { Digest, Json, PlanLeaf } from '#truth';
import type { ArtifactRef } from './execute/artifact-store.js';
import type { StageContent } from './partition/cas.js';
import type { Seal } from './aggregate/seal-plan.js';
import type { PartitionSummary } from './partition/contract.js';
import type { SegmentDraft } from './partition/segments.js';
import type { RawConfig } from './plan/stage-config.js';
import type { SearchHits } from './views.js';

/** A stage that is to be partitioned. */
export interface PartitionOrder {
  readonly partitioner: string;
  /** The partitioner's part of the stage's config. */
  readonly config: RawConfig;
  /** The executor's part, parsed; null when it takes none. */
  readonly options: RawConfig | null;
  readonly content: StageContent;
}

/** What a plan that is to be aggregated is named by. */
export interface PlanKey {
  readonly plan_no: number;
  readonly revision: number;
}

export interface ReceiptOrder {
  readonly leaf: PlanLeaf;
  readonly index: number;
  /** Artifact of the flat leaf hashes. */
  readonly leaves: Digest;
  /** The DSSE envelope. */
  readonly certificate: Json;
  /** Base64 of the raw key that signed it. */
  readonly public_key: string;
}

/** A search in an index of documentation: the two artifacts of the stage that made it. */
export interface SearchOrder {
  readonly index: Digest;
  /** Artifact of the texts that snippets are cut from. */
  readonly documents: Digest;
  readonly query: string;
  /** Most hits to return. */
  readonly limit: number;
}

/**
 * Long computations that must not hold up the event loop: they read files, and the store through a connection of their
 * own. A call rejects when its thread dies; calling again is always safe.
 */
export interface Background {
  /**
   * Partitions a stage. `onSegments` gets the shards as they come, in order, the next ones when its promise has
   * resolved; at most one part is made ahead meanwhile. Rejects with what the partitioner threw (as a BackgroundError naming it), or with what `onSegments` threw, or
   * at once with the signal's reason.
   */
  partition(
    order: PartitionOrder,
    onSegments: (segments: readonly SegmentDraft[]) => Promise<void>,
    signal: AbortSignal,
  ): Promise<PartitionSummary>;
  /** Re-hashes artifacts; corrupt ones are moved aside, so that they can be stored anew. */
  verifyArtifacts(
    digests: readonly Digest[],
  ): Promise<{ readonly missing: Digest[]; readonly corrupt: Digest[] }>;
  /** Writes a stage's results as an artifact of JSON lines, each a CollectedShard, for its collector. */
  gatherResults(plan: PlanKey, stage_no: number): Promise<ArtifactRef>;
  /** Hashes what is final of a running plan, for {@link sealPlan}, or forgets one that has ended. Did it get any further? */
  hashAhead(plan: PlanKey): Promise<boolean>;
  /** Computes a plan's trees from the store. Throws a BackgroundError named StoreDamaged when rows contradict each other. */
  sealPlan(plan: PlanKey): Promise<Seal>;
  /** The receipt of one leaf: a proof over leaf hashes that are stored as an artifact. */
  makeReceipt(order: ReceiptOrder): Promise<Json>;
  /**
   * Searches an index; those that were used last stay in memory there. Throws a BackgroundError named IndexUnusable when
   * an artifact is gone or damaged, with a message that says what to do.
   */
  search(order: SearchOrder): Promise<SearchHits>;
}

/** Thrown when a background computation failed; `name` is that of the error there, or `ThreadDied`. */
export class BackgroundError extends Error {
  constructor(
    override readonly name: string,
    message: string,
    /** Of a failed system call, such as `ENOSPC`. */
    readonly code?: string,
  ) {
    super(message);
  }
}
