import type { Json } from '#truth';
import { HxoError, type FieldError } from '../errors.js';
import { schedulers, type JobKind } from './job-kinds.js';
import type { PlanSpec, RetryPolicy, StageSpec } from './plan-spec.js';

/** The defaults that come from the settings. */
export interface PlanDefaults {
  readonly slo_ms: number;
  readonly shard_timeout_ms: number;
  /** HXO_MAX_SHARDS: the cap that no plan can raise. */
  readonly max_shards: number;
}

export const retry_default: RetryPolicy = { max_failures: 3, backoff_ms: 500, backoff_max_ms: 30_000 };

/** What a plan looks like on arrival: fields checked for type by the DTOs, most of them optional. */
interface RawPlan {
  readonly name: string;
  readonly stages: readonly RawStage[];
  readonly constraints?: { readonly max_shards?: number; readonly timebox_ms?: number };
}
type RawStage = {
  readonly id: string;
  readonly kind: string;
  readonly retry?: Partial<RetryPolicy>;
} & Partial<Omit<StageSpec, 'id' | 'kind' | 'retry'>>;

/**
 * Fills a plan's defaults by job kind. Pure.
 * Throws HxoError INVALID_PLAN for a plan without name or stages, and BLUEPRINT_VIOLATION for an unknown kind.
 */
export function parsePlan(raw: Json, kinds: ReadonlyMap<string, JobKind>, defaults: PlanDefaults): PlanSpec {
  const plan = assertRawPlan(raw);
  const errors: FieldError[] = [];
  const stages = plan.stages.map((stage, index): StageSpec | null => {
    const kind = kinds.get(stage.kind);
    if (kind === undefined) {
      errors.push({
        field: `stages[${index}].kind`,
        message: `Stage ${stage.id}: unknown kind ${stage.kind}. Allowed kinds: ${[...kinds.keys()].join(', ')}.`,
      });
      return null;
    }
    const partitioner = stage.partitioner ?? kind.partitioners[0]!;
    return {
      id: stage.id,
      kind: stage.kind,
      partitioner,
      executor: stage.executor ?? kind.executor_by_partitioner?.[partitioner] ?? kind.executors[0]!,
      scheduler: stage.scheduler ?? schedulers[0],
      config: stage.config ?? {},
      slo_ms: stage.slo_ms ?? kind.slo_ms ?? defaults.slo_ms,
      shard_timeout_ms: stage.shard_timeout_ms ?? defaults.shard_timeout_ms,
      dependencies: stage.dependencies ?? [],
      failure_policy: stage.failure_policy ?? 'continue',
      retry: { ...retry_default, ...stage.retry },
    };
  });
  if (errors.length > 0) throw new HxoError('BLUEPRINT_VIOLATION', errors[0]!.message, errors);
  return {
    name: plan.name,
    stages: stages as StageSpec[],
    constraints: {
      max_shards: Math.min(plan.constraints?.max_shards ?? defaults.max_shards, defaults.max_shards),
      timebox_ms: plan.constraints?.timebox_ms ?? null,
    },
  };
}

/** The DTOs have checked every field; a caller inside the process may not have, so the frame is checked again. */
function assertRawPlan(raw: Json): RawPlan {
  const plan = raw as unknown as RawPlan | null;
  const framed =
    typeof plan === 'object' &&
    plan !== null &&
    typeof plan.name === 'string' &&
    Array.isArray(plan.stages) &&
    plan.stages.length > 0 &&
    plan.stages.every(
      (stage: Partial<RawStage> | null) => typeof stage?.id === 'string' && typeof stage.kind === 'string',
    );
  if (!framed) {
    throw new HxoError('INVALID_PLAN', 'A plan needs a `name` and at least one stage with `id` and `kind`.');
  }
  return plan;
}
