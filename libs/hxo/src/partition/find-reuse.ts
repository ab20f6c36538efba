import { canonicalJson, hash_bytes, type Digest } from '#truth';
import type { Background } from '../background.js';
import type {
  CheckpointStore,
  ResultBatch,
  ReusableResult,
  ReuseMissLetter,
  Segment,
} from '../checkpoint/checkpoint-store.js';
import { resultBatches } from '../checkpoint/result-lines.js';
import type { Outcome } from '../execute/transport.js';
import type { LiveStage } from '../plan/live-plan.js';
import type { StageSpec } from '../plan/plan-spec.js';
import type { SegmentDraft } from './segments.js';

/** A stage's segments with the results that need no execution. */
export interface WithReuse {
  readonly segments: readonly Segment[];
  readonly reused: readonly ResultBatch[];
  readonly reused_ordinals: readonly number[];
}

/**
 * Finds results of certified plans for shards with the same content id: the same work on the same content. One is reused
 * only when its executor is cacheable and its artifacts still exist and hash right. Every miss gets its reason.
 *
 * @param otherwise what {@link missOf} says of the stage
 */
export async function findReuse(
  stage: LiveStage,
  drafts: readonly SegmentDraft[],
  otherwise: ReuseMissLetter,
  ports: { readonly store: CheckpointStore; readonly background: Background },
  now_ms: number,
): Promise<WithReuse> {
  const { store, background } = ports;
  if (!stage.executor.cacheable || !store.anyReusable()) return allMissed(drafts, otherwise);

  const found = drafts.map((draft) => lookUp(store, draft));
  const digests = new Set(
    found.flat().flatMap((result) => result?.artifacts.map((artifact) => artifact.digest) ?? []),
  );
  const bad =
    digests.size === 0 ? { missing: [], corrupt: [] } : await background.verifyArtifacts([...digests]);
  const missing = new Set<Digest>(bad.missing);
  const corrupt = new Set<Digest>(bad.corrupt);

  const reused: ResultBatch[] = [];
  const reused_ordinals: number[] = [];
  const segments = drafts.map((draft, i): Segment => {
    let misses = '';
    /** By the plan that they come from. */
    const outcomes = new Map<number, Outcome[]>();
    found[i]!.forEach((result, offset) => {
      const miss = result === null ? otherwise : artifactMiss(result, missing, corrupt);
      misses += miss ?? '-';
      if (result === null || miss !== null) return;
      const ordinal = draft.first_ordinal + offset;
      const { declared_output: digest, value, artifacts, source_plan_no } = result;
      const outcome = { ordinal, status: 'done', digest, value, artifacts, duration_ms: 0 } as const;
      const list = outcomes.get(source_plan_no);
      if (list === undefined) outcomes.set(source_plan_no, [outcome]);
      else list.push(outcome);
      reused_ordinals.push(ordinal);
    });
    // In rows of their own for each segment: they are discarded with it.
    for (const [source_plan_no, list] of outcomes) {
      const origin = { attempt: 0, source_plan_no, worker: '', finished_at: now_ms };
      reused.push(...resultBatches(stage.stage_no, origin, list));
    }
    return { ...draft, misses };
  });
  return { segments, reused, reused_ordinals };
}

function lookUp(store: CheckpointStore, draft: SegmentDraft): (ReusableResult | null)[] {
  return Array.from({ length: draft.count }, (_, i) =>
    store.reusable(draft.cas.subarray(i * hash_bytes, (i + 1) * hash_bytes)),
  );
}

function artifactMiss(
  result: ReusableResult,
  missing: Set<Digest>,
  corrupt: Set<Digest>,
): ReuseMissLetter | null {
  if (result.artifacts.some((artifact) => missing.has(artifact.digest))) return 'm';
  return result.artifacts.some((artifact) => corrupt.has(artifact.digest)) ? 'k' : null;
}

/** Why a shard of the stage that nobody has done before is new. Reads earlier plans: to be asked once for a stage. */
export function missOf(stage: LiveStage, store: CheckpointStore): ReuseMissLetter {
  if (!stage.executor.cacheable) return 'x';
  const earlier = store.earlierStage(stage.plan.spec.name, stage.spec.id);
  if (earlier === null) return 'f';
  const same_executor =
    earlier.spec.executor === stage.spec.executor && earlier.executor_version === stage.executor_version;
  if (!same_executor) return 'e';
  return optionsOf(earlier.spec) === optionsOf(stage.spec) ? 'c' : 'o';
}

/** What the author of a plan chose that decides on the shards. */
function optionsOf({ kind, partitioner, config }: StageSpec): string {
  return canonicalJson({ kind, partitioner, config });
}

function allMissed(drafts: readonly SegmentDraft[], letter: ReuseMissLetter): WithReuse {
  const segments = drafts.map((draft) => ({ ...draft, misses: letter.repeat(draft.count) }));
  return { segments, reused: [], reused_ordinals: [] };
}
