import { canonicalJson, hash_bytes, type Digest } from '#truth';
import type { Background } from '../background.js';
import type {
  CheckpointStore,
  ResultRow,
  ReusableResult,
  ReuseMissLetter,
  Segment,
} from '../checkpoint/checkpoint-store.js';
import type { LiveStage } from '../plan/live-plan.js';
import type { StageSpec } from '../plan/plan-spec.js';
import type { SegmentDraft } from './segments.js';

/** A stage's segments with the results that need no execution. */
export interface WithReuse {
  readonly segments: readonly Segment[];
  readonly reused: readonly ResultRow[];
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

  const reused: ResultRow[] = [];
  const segments = drafts.map((draft, i): Segment => {
    let misses = '';
    found[i]!.forEach((result, offset) => {
      const miss = result === null ? otherwise : artifactMiss(result, missing, corrupt);
      misses += miss ?? '-';
      if (result === null || miss !== null) return;
      const ordinal = draft.first_ordinal + offset;
      reused.push({
        ...result,
        ordinal,
        attempt: 0,
        status: 'done',
        worker: '',
        duration_ms: 0,
        finished_at: now_ms,
      });
    });
    return { ...draft, misses };
  });
  return { segments, reused };
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
  return { segments: drafts.map((draft) => ({ ...draft, misses: letter.repeat(draft.count) })), reused: [] };
}
