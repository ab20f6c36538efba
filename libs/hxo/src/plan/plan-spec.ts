import type { Json } from '#truth';

/** A plan's public id: a UUID. Minted by the engine, or parsed by {@link parsePlanId}. */
export type PlanId = string & { readonly __brand: 'PlanId' };

/** The id when the text is one, else null: a text of another shape names no plan. */
export function parsePlanId(text: string): PlanId | null {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text) ? (text as PlanId) : null;
}

/** What happens to the rest when a shard of a stage has failed for good. */
export type FailurePolicy = 'continue' | 'halt_stage' | 'halt_plan';

export interface RetryPolicy {
  /** Executor errors after which a shard has failed for good. */
  readonly max_failures: number;
  /** Delay before the first retry, in milliseconds; it doubles with every failure, with jitter. */
  readonly backoff_ms: number;
  readonly backoff_max_ms: number;
}

/** A stage with every default filled in: what is stored, run and certified. */
export interface StageSpec {
  readonly id: string;
  readonly kind: string;
  readonly partitioner: string;
  readonly executor: string;
  readonly scheduler: string;
  readonly config: Readonly<Record<string, Json>>;
  readonly slo_ms: number;
  /** Limit of one shard in milliseconds; 0 is no limit. */
  readonly shard_timeout_ms: number;
  readonly dependencies: readonly string[];
  readonly failure_policy: FailurePolicy;
  readonly retry: RetryPolicy;
}

/** A plan with every default filled in. */
export interface PlanSpec {
  readonly name: string;
  readonly stages: readonly StageSpec[];
  readonly constraints: {
    /** More shards than this fail the plan before any of them runs. */
    readonly max_shards: number;
    /** The plan is aborted when it runs longer, in milliseconds; null is no limit. */
    readonly timebox_ms: number | null;
  };
}
