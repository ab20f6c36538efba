import { planLeaf, type Digest, type PlanLeaf } from '#truth';
import type { PlanReader, PlanRow, ResultRow, StageRow } from '../checkpoint/checkpoint-store.js';
import { outputDigest } from '../checkpoint/result-lines.js';
import type { StageSpec } from '../plan/plan-spec.js';
import { HashList } from './hash-list.js';
import { planRecord, stageRecord } from './records.js';
import { StageHasher, type StageTally } from './stage-hasher.js';

/**
 * What a certificate binds: a tree and a list.
 *
 * The plan tree says what the work came to: a leaf for every shard in the order (stage, ordinal), then one for every
 * stage's output. It holds nothing that depends on timing, so a crash changes no leaf.
 *
 * The records say what the store holds: a SHA-256 for every row of the plan, its stages, segments and results, over every
 * column that is final when it is signed, in the order (plan, then for each stage: stage, segments, results). They let anybody name the row that was altered later.
 */
export interface PlanTrees {
  readonly leaves: HashList;
  readonly records: HashList;
  readonly stages: readonly StageTally[];
  /** Rows that contradict each other, in words. A sound store has none. */
  readonly damage: readonly string[];
}

/** The hasher of a stage: a new one, or one that has begun. */
export type HasherOf = (stage: StageRow, spec: StageSpec) => StageHasher;

/**
 * Computes the tree and the records of a plan from the rows of the store. Throws RowUnreadable.
 *
 * @param hasherOf what has been hashed of a stage before, while it was running
 */
export function readPlanTrees(
  reader: PlanReader,
  plan: PlanRow,
  hasherOf: HasherOf = (stage, spec) => new StageHasher(plan, stage, spec),
): PlanTrees {
  const leaves = new HashList();
  const records = new HashList();
  const damage: string[] = [];
  records.addLatin1(planRecord(plan));
  const rows = reader.stages(plan.plan_no);
  const outputs = new HashList();
  const tallies = plan.spec.stages.map((spec, stage_no) => {
    const stage = rows.find((row) => row.stage_no === stage_no);
    if (stage === undefined) {
      damage.push(`stage row ${spec.id}: it is gone`);
      return { total: 0, done: 0, reused: 0, failed: 0, skipped: 0 };
    }
    records.addLatin1(stageRecord(stage));
    outputs.addLatin1(planLeaf(outputLeaf(stage, spec)).toString('latin1'));
    const hasher = hasherOf(stage, spec);
    hasher.finish(reader);
    leaves.append(hasher.leaves);
    records.append(hasher.segment_records);
    records.append(hasher.result_records);
    damage.push(...hasher.damage);
    return hasher.tally;
  });
  leaves.append(outputs);
  return { leaves, records, stages: tallies, damage };
}

/** What the plan's tree says of a stage's output. */
export function outputLeaf(stage: StageRow, spec: StageSpec): PlanLeaf {
  const status = stage.phase === 'done' || stage.phase === 'skipped' ? stage.phase : 'failed';
  return {
    cas: null,
    executor: spec.executor,
    ordinal: null,
    output: stage.output?.digest ?? null,
    stage: spec.id,
    status,
  };
}

/** What the plan's tree says of a shard; one without a result was skipped. */
export function shardLeaf(spec: StageSpec, cas: Digest, ordinal: number, result: ResultRow | null): PlanLeaf {
  const output = result?.status === 'done' ? outputDigest(result) : null;
  return {
    cas,
    executor: spec.executor,
    ordinal,
    output,
    stage: spec.id,
    status: result?.status ?? 'skipped',
  };
}
