import type { Digest, Json } from '#truth';

/** What readers see: the wire shapes of HTTP answers, snake_case. Times are UTC, whole seconds, `Z`. */

export type PlanPhase =
  | 'created' // made by POST plan, waiting for POST submit
  | 'submitted'
  | 'partitioning'
  | 'running'
  | 'aggregating'
  | 'certifying'
  | 'succeeded'
  | 'failed'
  | 'aborted';

export type StagePhase =
  'waiting' | 'partitioning' | 'ready' | 'running' | 'collecting' | 'done' | 'failed' | 'skipped' | 'aborted'; // it had begun when its plan was stopped

export type ShardPhase = 'pending' | 'retrying' | 'claimed' | 'running' | 'done' | 'failed' | 'skipped';

export interface SubmittedView {
  readonly plan_id: string;
  readonly name: string;
  readonly status: 'submitted';
  readonly total_shards: number | null;
}

/** Shard counts. total = pending + claimed + running + done + failed, always. */
export interface CountsView {
  readonly total_shards: number;
  /** With retrying and skipped shards. */
  readonly pending_shards: number;
  readonly claimed_shards: number;
  readonly running_shards: number;
  /** With reused shards. */
  readonly done_shards: number;
  readonly failed_shards: number;
}

export interface StageView extends CountsView {
  readonly id: string;
  readonly kind: string;
  readonly partitioner: string;
  readonly executor: string;
  readonly executor_version: string;
  readonly scheduler: string;
  readonly phase: StagePhase;
  readonly retrying_shards: number;
  readonly skipped_shards: number;
  readonly reused_shards: number;
  /** False until the stage is partitioned, for good when its plan ends before: total_shards is what is known so far. */
  readonly total_final: boolean;
  readonly matched: number | null;
  readonly taken: number | null;
  readonly truncated: number | null;
  /** The field of the stage's config that left items out; null when nothing is, or its partitioner does not say. */
  readonly capped_by: string | null;
  readonly slo_ms: number;
  readonly dependencies: readonly string[];
  readonly started_at: string | null;
  readonly finished_at: string | null;
  /** SHA-256 of the stage's output, once collected. */
  readonly output: Digest | null;
}

export interface StatusView extends CountsView {
  readonly plan_id: string;
  readonly plan_name: string;
  readonly phase: PlanPhase;
  readonly revision: number;
  /** True when it is so for every stage. */
  readonly total_final: boolean;
  readonly reused_shards: number;
  readonly skipped_shards: number;
  readonly retrying_shards: number;
  readonly merkle_root: Digest | null;
  readonly truth_certified: boolean;
  /** Null while the plan is only created. */
  readonly submitted_at: string | null;
  readonly started_at: string | null;
  readonly finished_at: string | null;
  readonly eta_seconds: number | null;
  /** What the plan waits for, in words; null when it waits for nothing. */
  readonly waiting_for: string | null;
  /** Why the plan failed or was aborted. */
  readonly error: { readonly code: string; readonly detail: string } | null;
  readonly stages: readonly StageView[];
}

export interface SloView {
  readonly stage: string;
  readonly slo_ms: number;
  /** From the stage's start to its end, or to now. */
  readonly elapsed_ms: number | null;
  readonly verdict: 'met' | 'missed' | 'running' | 'not_started';
}

/** Why shards were executed rather than reused: reason → shards. */
export type ReuseMisses = Readonly<Record<string, number>>;

export interface ReportView extends StatusView {
  /** False until the plan has ended; everything below may still change then. */
  readonly final: boolean;
  readonly slo: readonly SloView[];
  readonly reuse: {
    readonly reused: number;
    readonly executed: number;
    readonly misses: ReuseMisses;
    readonly stages: readonly {
      readonly stage: string;
      readonly reused: number;
      readonly executed: number;
      readonly misses: ReuseMisses;
    }[];
  };
  /** The first 100 failed shards; `GET plans/:id/shards?phase=failed` lists them all. */
  readonly failures: readonly {
    readonly stage: string;
    readonly ordinal: number;
    readonly code: string;
    readonly message: string;
    readonly failures: number;
  }[];
  readonly outputs: readonly {
    readonly stage: string;
    readonly digest: Digest;
    readonly value: Json;
    readonly artifacts: readonly { readonly name: string; readonly digest: Digest; readonly bytes: number }[];
  }[];
  /** Sentences, in words, on what the certificate does and does not vouch for; and on "nothing to do" and truncations. */
  readonly notes: readonly string[];
  /** The DSSE envelope, or null. */
  readonly certificate: Json;
  /** The key that signed it: base64 of the raw Ed25519 public key, and the key id. */
  readonly signer: { readonly key_id: string; readonly public_key: string } | null;
}

export interface PlanListItem extends CountsView {
  readonly plan_id: string;
  readonly plan_name: string;
  readonly phase: PlanPhase;
  readonly merkle_root: Digest | null;
  readonly truth_certified: boolean;
  readonly submitted_at: string | null;
  readonly finished_at: string | null;
}

export interface ShardView {
  readonly stage: string;
  readonly ordinal: number;
  readonly phase: ShardPhase;
  readonly wave: number;
  readonly weight: number;
  readonly cas_id: Digest;
  readonly attempt: number;
  readonly failures: number;
  /** Leases lost with their workers; null when nobody counts them: before the shard can be leased, and once its plan has ended. */
  readonly lease_losses: number | null;
  readonly reused: boolean;
  /** The plan that produced a reused result. */
  readonly producing_plan_id: string | null;
  /** Why it was executed rather than reused; null when reused or not yet known. */
  readonly reuse_miss: string | null;
  readonly output: Digest | null;
  readonly value: Json;
  readonly worker: string | null;
  readonly duration_ms: number | null;
  readonly error: { readonly code: string; readonly message: string } | null;
}

/** One page. `next_cursor` is null on the last. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly next_cursor: string | null;
}

/** A page of documentation that a search found. */
export interface SearchHit {
  readonly route: string;
  readonly title: string;
  /** Relative to the root that its stage listed. */
  readonly path: string;
  /** Plain text around the first word that was found; escape it like any text before it goes into HTML. */
  readonly snippet: string;
  /** Where found words stand in the snippet: offset and length in UTF-16 units. */
  readonly matches: readonly (readonly [number, number])[];
  /** Larger is better; comparable inside one answer only. */
  readonly score: number;
}

export interface SearchHits {
  /** Pages that were found, of which `items` are the best. */
  readonly total: number;
  readonly items: readonly SearchHit[];
}

export interface SearchView extends SearchHits {
  readonly query: string;
  /** The plan and stage whose index answered. */
  readonly plan_id: string;
  readonly stage: string;
}

export interface AuditView {
  readonly seq: number;
  readonly time: string;
  /** Role of who did it: admiral, captain, anonymous, or `hxo` for the system itself. */
  readonly actor: string;
  /** What was done, e.g. `plan.submit`, `plan.abort`, `plan.certify`, `access.denied`. */
  readonly action: string;
  readonly outcome: 'ok' | 'denied' | 'rejected';
  readonly plan_id: string | null;
  readonly data: Json;
}
