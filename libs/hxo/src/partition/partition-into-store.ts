import { reuse_misses, type ReuseMissLetter } from '../checkpoint/checkpoint-store.js';
import type { EnginePorts } from '../engine-ports.js';
import type { PartitionOrder } from '../background.js';
import { assertAlive } from '../plan/enter-phase.js';
import { parseFields, splitConfig } from '../plan/stage-config.js';
import { PlanStopped, type LiveStage } from '../plan/live-plan.js';
import { untilMended } from '../until-mended.js';
import type { PartitionSummary } from './contract.js';
import { findReuse, missOf } from './find-reuse.js';
import type { SegmentDraft } from './segments.js';

/**
 * Partitions a stage into the store and its board, unless that was done before. What a crash left half done is discarded
 * and done again. Throws PlanStopped: MAX_SHARDS_EXCEEDED, or PARTITION_FAILED with the partitioner's own words.
 */
export async function partitionStage(stage: LiveStage, ports: EnginePorts): Promise<void> {
  if (stage.phase !== 'waiting' && stage.phase !== 'partitioning') return;
  const { plan, stage_no, spec } = stage;
  const { store } = ports;
  const partitioning = untilMended(plan, `Partitioning stage ${spec.id}`, async () => {
    await startEmpty(stage, ports);
    return partition(stage, ports);
  });
  const { summary, misses } = await partitioning.catch((error: unknown) => {
    if (error instanceof PlanStopped) throw error;
    const detail = `Stage ${spec.id}: ${(error as Error).message}`;
    throw new PlanStopped('failed', 'PARTITION_FAILED', detail, stage_no);
  });
  await store.write((tx) => {
    assertAlive(tx.planPhase(plan.plan_no));
    tx.updateStage(plan.plan_no, stage_no, { phase: 'ready', ...summary, misses });
  }, 'engine');
  stage.phase = 'ready';
}

/** Discards what an earlier try has stored, in as many writes as that takes: none holds up the others for long. */
async function startEmpty(stage: LiveStage, { store }: EnginePorts): Promise<void> {
  const { plan, stage_no } = stage;
  stage.clear();
  do {
    await store.write((tx) => {
      assertAlive(tx.planPhase(plan.plan_no));
      tx.updateStage(plan.plan_no, stage_no, { phase: 'partitioning' });
      tx.discardStage(plan.plan_no, stage_no);
    }, 'engine');
    stage.phase = 'partitioning';
  } while (store.stages(plan.plan_no)[stage_no]!.total > 0);
}

/** One try. Ends only when nothing more of it is being stored. */
async function partition(
  stage: LiveStage,
  ports: EnginePorts,
): Promise<{ readonly summary: PartitionSummary; readonly misses: Readonly<Record<string, number>> }> {
  const { plan } = stage;
  const misses: Record<string, number> = {};
  const otherwise = missOf(stage, ports.store);
  let storing = Promise.resolve();
  const onSegments = (drafts: readonly SegmentDraft[]): Promise<void> => {
    storing = storeSegments(stage, drafts, { misses, otherwise }, ports);
    return storing;
  };
  try {
    const summary = await ports.background.partition(orderOf(stage), onSegments, plan.signal);
    return { summary, misses };
  } finally {
    // When the thread dies, the part that it sent last may be on its way into the store.
    await storing.catch(() => {});
  }
}

function orderOf({ spec, executor, executor_version }: LiveStage): PartitionOrder {
  const { own, rest } = splitConfig(spec.config, executor.options);
  return {
    partitioner: spec.partitioner,
    config: rest,
    options: executor.options === undefined ? null : parseFields(executor.name, executor.options, own),
    content: { kind: spec.kind, executor: spec.executor, executor_version, dependency_digests: [] },
  };
}

async function storeSegments(
  stage: LiveStage,
  drafts: readonly SegmentDraft[],
  { misses, otherwise }: { readonly misses: Record<string, number>; readonly otherwise: ReuseMissLetter },
  ports: EnginePorts,
): Promise<void> {
  const { plan, stage_no, spec, board } = stage;
  if (plan.stopped !== null) throw plan.stopped;
  assertWithinCap(stage, drafts);
  const { store, genesis, clock } = ports;
  const { segments, reused, reused_ordinals } = await findReuse(
    stage,
    drafts,
    otherwise,
    ports,
    clock.now_ms(),
  );
  const ordinals = segments.flatMap((segment) => range(segment.first_ordinal, segment.count));
  const events = await store.write((tx) => {
    assertAlive(tx.planPhase(plan.plan_no));
    for (const segment of segments) tx.insertSegment(plan.plan_no, stage_no, segment);
    tx.insertResults(plan.plan_no, plan.revision, reused);
    tx.countStage(plan.plan_no, stage_no, {
      total: ordinals.length,
      done: reused_ordinals.length,
      reused: reused_ordinals.length,
    });
    return tx.appendEvents([
      ...genesis.shards('hxo.shard.created', plan.plan_id, spec.id, ordinals),
      ...genesis.shards('hxo.shard.done', plan.plan_id, spec.id, reused_ordinals, {
        attempt: 0,
        reused: true,
      }),
    ]);
  }, 'engine');
  genesis.announce(events);
  for (const segment of segments) {
    board.add(segment.count, segment.wave);
    for (const letter of segment.misses) {
      if (letter === '-') continue;
      const reason = reuse_misses[letter as ReuseMissLetter];
      misses[reason] = (misses[reason] ?? 0) + 1;
    }
  }
  for (const ordinal of reused_ordinals) board.done(ordinal);
  stage.reused += reused_ordinals.length;
}

function assertWithinCap(stage: LiveStage, drafts: readonly SegmentDraft[]): void {
  const { max_shards } = stage.plan.spec.constraints;
  const total = stage.plan.total() + drafts.reduce((sum, draft) => sum + draft.count, 0);
  if (total <= max_shards) return;
  const detail =
    `Stage ${stage.spec.id} brings the plan to more than ${max_shards} shards. ` +
    'Raise constraints.max_shards (HXO_MAX_SHARDS caps it), or make shards larger in the stage config.';
  throw new PlanStopped('failed', 'MAX_SHARDS_EXCEEDED', detail, stage.stage_no);
}

function range(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}
