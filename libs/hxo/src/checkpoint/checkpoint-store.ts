import type { Digest, Json } from '#truth';
import type { ArtifactRef } from '../execute/artifact-store.js';
import type { StageArtifact } from '../execute/contract.js';
import type { PlanId, PlanSpec, StageSpec } from '../plan/plan-spec.js';
import type { AuditView, PlanPhase, StagePhase } from '../views.js';

/** Rows as the engine knows them. Times are UTC milliseconds since 1970. Plans have a number beside their id: hot tables use it. */

export interface PlanRow {
  readonly plan_no: number;
  readonly plan_id: PlanId;
  /** As plans are searched by: the spec's. */
  readonly name: string;
  readonly spec: PlanSpec;
  readonly spec_digest: Digest;
  readonly revision: number;
  readonly phase: PlanPhase;
  /** Null until the plan is submitted. */
  readonly submitted_at: number | null;
  readonly started_at: number | null;
  readonly finished_at: number | null;
  readonly error: { readonly code: string; readonly detail: string } | null;
  readonly root: Digest | null;
}

export interface StageRow {
  readonly plan_no: number;
  readonly stage_no: number;
  readonly phase: StagePhase;
  readonly executor_version: string;
  readonly total: number;
  readonly done: number;
  readonly reused: number;
  readonly failed: number;
  readonly skipped: number;
  readonly matched: number | null;
  readonly taken: number | null;
  readonly truncated: number | null;
  /** Why shards were not reused: reason → shards. */
  readonly misses: Readonly<Record<string, number>>;
  readonly started_at: number | null;
  readonly finished_at: number | null;
  readonly output: {
    readonly digest: Digest;
    readonly value: Json;
    readonly artifacts: readonly StageArtifact[];
  } | null;
}

/** Why a shard could not be reused. One letter each in a segment's row. */
export const reuse_misses = {
  f: 'first_run',
  o: 'options_changed',
  c: 'content_changed',
  e: 'executor_changed',
  x: 'not_cacheable',
  m: 'artifact_missing',
  k: 'artifact_corrupt',
} as const;
export type ReuseMissLetter = keyof typeof reuse_misses;

/** At most 256 consecutive shards of one wave: one row, so that a million shards are 4,000 rows. */
export interface Segment {
  readonly first_ordinal: number;
  readonly count: number;
  readonly wave: number;
  /** Content ids, 32 bytes a shard. */
  readonly cas: Uint8Array;
  /** One line a shard, see `segment-lines.ts`. */
  readonly lines: string;
  /** See {@link segmentDigest}: tells whether the row is still the one that partitioning made. */
  readonly digest: Digest;
  /** One letter a shard: `-` reused, else a key of {@link reuse_misses}. */
  readonly misses: string;
}

/** Results that were accepted together, of shards of one block: one row, see `result-lines.ts`. */
export interface ResultBatch {
  readonly stage_no: number;
  /** The lowest of its ordinals. */
  readonly first_ordinal: number;
  readonly count: number;
  /** How many of them have failed. */
  readonly failed: number;
  readonly attempt: number;
  /** Number of the plan that produced reused results; null when they were executed here. */
  readonly source_plan_no: number | null;
  readonly worker: string;
  readonly finished_at: number;
  /** One line a shard, in the order of their ordinals, as outcome-lines.ts prints them. */
  readonly lines: string;
}

/** The accepted result of a shard. */
export interface ResultRow {
  readonly ordinal: number;
  readonly attempt: number;
  readonly status: 'done' | 'failed';
  /** The executor's own digest; null when the output's digest is the SHA-256 of `value`. */
  readonly declared_output: Digest | null;
  /** Canonical JSON text: the output's value, or `{code, message}` of a failure. */
  readonly value: string;
  readonly artifacts: readonly ArtifactRef[];
  /** Number of the plan that produced a reused result; null when executed here. */
  readonly source_plan_no: number | null;
  readonly worker: string;
  readonly duration_ms: number;
  readonly finished_at: number;
}

export interface BundleRow {
  readonly bundle: number;
  readonly stage_no: number;
  readonly ordinals: readonly number[];
  readonly attempt: number;
  readonly state: 'open' | 'closed' | 'lost';
}

export interface FailureRow {
  readonly ordinal: number;
  readonly attempt: number;
  readonly code: string;
  readonly message: string;
  readonly worker: string;
  readonly at: number;
}

/** An event as it is stored: `data.ordinals` (ranges as text) stands for `data.shards` to keep rows small. */
export interface NewEvent {
  readonly topic: string;
  readonly time: number;
  readonly plan_id: string | null;
  readonly data: Readonly<Record<string, Json>>;
}
export interface StoredEvent extends NewEvent {
  readonly id: number;
}

export interface CertificateRow {
  readonly envelope: Json;
  readonly key_id: Digest;
  readonly public_key: string;
  /** Artifacts of the flat leaf hashes of the plan's tree, and of the hashes of its records. */
  readonly leaves: ArtifactRef;
  readonly records: ArtifactRef;
}

/** Thrown when a row is in a form that HXO never writes: the store was damaged, or somebody has altered it. */
export class RowUnreadable extends Error {
  override readonly name = 'RowUnreadable';
  constructor(
    readonly table: 'plan' | 'stage' | 'segment' | 'result' | 'certificate',
    /** Where in its plan: the stage, and the shard that the row is on or begins with. */
    readonly at: { readonly stage_no?: number; readonly ordinal?: number },
    column: string,
  ) {
    super(
      `Column ${column} of a ${table} row ${JSON.stringify(at)} is damaged. Restore the store from a backup.`,
    );
  }
}

/** Thrown when the store cannot be written now: locked by another process, full, or read-only. Nothing was stored. */
export class StoreUnavailable extends Error {
  override readonly name = 'StoreUnavailable';
}

/** A reusable result, found by content id. */
export interface ReusableResult extends Omit<ResultRow, 'ordinal' | 'attempt' | 'status' | 'source_plan_no'> {
  readonly source_plan_no: number;
}

/** A stage of an earlier plan: what reuse misses are explained by. */
export interface EarlierStage {
  readonly spec: StageSpec;
  readonly executor_version: string;
}

/**
 * What may be done inside one transaction. Every method runs at once; nothing is durable, and nobody may be told, before
 * the promise of {@link CheckpointStore.write} resolves.
 */
export interface Transaction {
  insertPlan(plan: Omit<PlanRow, 'plan_no'>, executor_versions: readonly string[]): number;
  planPhase(plan_no: number): PlanPhase;
  updatePlan(
    plan_no: number,
    change: Partial<
      Pick<PlanRow, 'phase' | 'submitted_at' | 'started_at' | 'finished_at' | 'error' | 'root'>
    >,
  ): void;
  updateStage(
    plan_no: number,
    stage_no: number,
    change: Partial<Omit<StageRow, 'plan_no' | 'stage_no'>>,
  ): void;
  /**
   * Ends the stages of a plan that is stopped: those that have begun are `aborted`, the one that the plan failed in
   * `failed`, all others `skipped`.
   */
  endStages(plan_no: number, failed_stage_no: number | null, at: number): void;
  /** Adds to a stage's live counters. */
  countStage(
    plan_no: number,
    stage_no: number,
    add: {
      readonly total?: number;
      readonly done?: number;
      readonly reused?: number;
      readonly failed?: number;
      readonly skipped?: number;
    },
  ): void;
  insertSegment(plan_no: number, stage_no: number, segment: Segment): void;
  /** Removes the last of a stage's segments, with their results: half a partition. Call it again until `total` is 0. */
  discardStage(plan_no: number, stage_no: number): void;
  insertBundle(plan_no: number, bundle: BundleRow, at: number): void;
  setBundleState(plan_no: number, bundle: number, state: BundleRow['state'], worker: string | null): void;
  /** Stores results of shards that have none yet, which is for the caller to know. */
  insertResults(plan_no: number, revision: number, batches: readonly ResultBatch[]): void;
  /** The result of a shard that stands, this transaction's included, or null. */
  standingResult(plan_no: number, revision: number, stage_no: number, ordinal: number): ResultRow | null;
  /** False when the failure was known already. */
  insertFailure(plan_no: number, stage_no: number, failure: FailureRow): boolean;
  /**
   * Makes results `first..first+count-1` of a stage findable by content id. Takes the place of what a certified plan
   * offers only when this plan is certified too.
   */
  fillReuse(plan_no: number, revision: number, stage_no: number, segment: Segment): void;
  insertCertificate(plan_no: number, revision: number, certificate: CertificateRow): void;
  appendEvents(events: readonly NewEvent[]): StoredEvent[];
  appendAudit(entry: Omit<AuditView, 'seq' | 'time'> & { readonly time: number }): number;
  claimIdempotencyKey(
    key: string,
    body: Digest,
    plan_id: PlanId,
    at: number,
  ): { readonly plan_id: PlanId; readonly body: Digest } | null;
}

/** Reads of a plan that may be long; also served by a second, read-only connection outside the main thread. */
export interface PlanReader {
  planById(plan_id: string): PlanRow | null;
  planByNo(plan_no: number): PlanRow | null;
  stages(plan_no: number): StageRow[];
  /** @param from begins with the segment of this ordinal; 0 when left out */
  segments(plan_no: number, stage_no: number, from?: number): IterableIterator<Segment>;
  /** Rows of results whose first ordinal is from `from` on and below `below`, in the order of their first ordinals. */
  resultBatches(
    plan_no: number,
    revision: number,
    stage_no: number,
    from?: number,
    below?: number,
  ): IterableIterator<ResultBatch>;
  /** How many results those rows hold, by their own account. */
  countResults(plan_no: number, revision: number, stage_no: number, from: number, below: number): number;
  /** Results in the order of ordinals, those from `from` on and below `below`. Throws {@link RowUnreadable}. */
  results(
    plan_no: number,
    revision: number,
    stage_no: number,
    from?: number,
    below?: number,
  ): IterableIterator<ResultRow>;
  certificate(plan_no: number, revision: number): CertificateRow | null;
  /** Plans that have a certificate or should have one. The row of the one or the other may be gone. */
  certifiedPlans(): { readonly plan_no: number; readonly revision: number }[];
}

/**
 * Who waits for a write. `engine`: a step of a plan, for as long as the store is unavailable. `shards`: leases and outcomes,
 * which wait a little for company, too, as there may be thousands a second. `request`: a caller, who rather hears of trouble.
 */
export type Patience = 'engine' | 'shards' | 'request';

/**
 * The truth. All writes go through one first-in first-out writer; `write` resolves only after COMMIT with fsync, and
 * rejects with what `work` threw, or with {@link StoreUnavailable}, with nothing stored.
 */
export interface CheckpointStore extends PlanReader {
  /** Runs `work` in a transaction, after all earlier writes. */
  write<T>(work: (tx: Transaction) => T, patience: Patience): Promise<T>;
  /** Plans that were submitted and have not ended; their names only, so that one damaged row costs no other plan. */
  unfinishedPlans(): Pick<PlanRow, 'plan_no' | 'plan_id'>[];
  segmentsOf(plan_no: number, stage_no: number, ordinals: readonly number[]): Segment[];
  result(plan_no: number, revision: number, stage_no: number, ordinal: number): ResultRow | null;
  bundles(plan_no: number): IterableIterator<BundleRow>;
  bundle(plan_no: number, bundle: number): BundleRow | null;
  failures(plan_no: number, stage_no: number): FailureRow[];
  failuresOf(plan_no: number, stage_no: number, ordinal: number): FailureRow[];
  /** Results of certified plans with this content id. */
  reusable(cas: Uint8Array): ReusableResult | null;
  /** Does any certified plan offer results for reuse? */
  anyReusable(): boolean;
  /** The stage of this id in the latest certified plan of this name that has one, or null. */
  earlierStage(plan_name: string, stage_id: string): EarlierStage | null;
  failedResults(
    plan_no: number,
    revision: number,
    limit: number,
  ): { readonly stage_no: number; readonly result: ResultRow }[];
  plans(query: {
    readonly before_no: number | null;
    readonly limit: number;
    readonly phase?: string;
    readonly name?: string;
  }): Promise<PlanRow[]>;
  audit(query: { readonly after: number; readonly limit: number }): Promise<AuditView[]>;
  events(query: {
    readonly topic?: string;
    readonly plan_id?: string;
    readonly after: number;
    readonly limit: number;
    readonly without?: string;
  }): Promise<StoredEvent[]>;
  /** What keeps the store from being written, in words; empty when nothing does. */
  problems(): readonly string[];
  /** Waits for the writes that are queued, then closes. */
  close(): Promise<void>;
}
