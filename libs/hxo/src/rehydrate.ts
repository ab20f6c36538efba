import { canonicalJson, sha256 } from '#truth';
import {
  RowUnreadable,
  type BundleRow,
  type CheckpointStore,
  type PlanRow,
  type StageRow,
} from './checkpoint/checkpoint-store.js';
import type { EnginePorts } from './engine-ports.js';
import { partitionerConfig } from './plan/catalogue.js';
import { LivePlan, type LiveStage, type StageParts } from './plan/live-plan.js';
import type { StageSpec } from './plan/plan-spec.js';
import { ConfigError } from './plan/stage-config.js';

/**
 * Thrown when a stored plan needs an executor that this process does not have, or has in another version, whose results
 * would be others. The plan waits, nothing of it is lost.
 */
export class ExecutorMissing extends Error {
  override readonly name = 'ExecutorMissing';
  constructor(executor: string, needed: string, found: string | null) {
    super(
      found === null
        ? `Executor ${executor} is not in this build: add its module to HXO_EXECUTORS and restart.`
        : `The plan needs version ${needed} of executor ${executor}; this build has ${found}. ` +
            `Run the earlier build to finish the plan, or abort it and submit it again.`,
    );
  }
}

/** A plan in memory as it was just stored. Throws {@link ExecutorMissing}. */
export function livePlan(row: PlanRow, executor_versions: readonly string[], ports: EnginePorts): LivePlan {
  const { partitioners, executors } = ports.catalogue;
  const parts = row.spec.stages.map((stage, stage_no): StageParts => {
    const executor = executors.get(stage.executor);
    const executor_version = executor_versions[stage_no]!;
    if (executor?.version !== executor_version) {
      throw new ExecutorMissing(stage.executor, executor_version, executor?.version ?? null);
    }
    const partitioner = partitioners.get(stage.partitioner);
    const follows_dependencies = stage.dependencies.length > 0 && partitioner?.follows_dependencies === true;
    return { executor, executor_version, follows_dependencies, one_by_one: isOneByOne(stage, ports) };
  });
  return new LivePlan(row.plan_no, row.plan_id, row.revision, row.spec, row, parts);
}

function isOneByOne(stage: StageSpec, { catalogue, partition_context }: EnginePorts): boolean {
  const partitioner = catalogue.partitioners.get(stage.partitioner);
  if (partitioner?.one_by_one === undefined) return false;
  try {
    return partitioner.one_by_one(partitionerConfig(partitioner, stage, catalogue), partition_context);
  } catch (error) {
    // A config that an earlier build took must not keep HXO from starting: partitioning tells of it, unless that is done.
    if (error instanceof ConfigError) return false;
    throw error;
  }
}

/** A plan from the store, and the leases of it that may still be alive. */
export interface Rehydrated {
  readonly plan: LivePlan;
  readonly alive: readonly BundleRow[];
}

/**
 * Rebuilds a plan that has not ended from the store alone. Where bundles outlive the process (`durable`), leases of shards
 * that were open may be alive; otherwise their workers died with the process, and they are over: that costs their shards a
 * lease, never a retry. A collector is always leased again. Throws {@link ExecutorMissing} and {@link RowUnreadable}.
 */
export async function rehydrate(row: PlanRow, ports: EnginePorts): Promise<Rehydrated> {
  const { store, federation } = ports;
  const stages = store.stages(row.plan_no);
  assertWhole(row, stages);
  const plan = livePlan(
    row,
    stages.map((stage) => stage.executor_version),
    ports,
  );
  for (const stage of plan.stages) {
    const stored = stages[stage.stage_no]!;
    stage.phase = stored.phase;
    stage.started_at = stored.started_at;
    // A stage that was being partitioned is partitioned again from the start: its board stays empty.
    if (stored.phase === 'waiting' || stored.phase === 'partitioning') continue;
    stage.reused = stored.reused;
    for (const segment of store.segments(row.plan_no, stage.stage_no))
      stage.board.add(segment.count, segment.wave);
  }
  const alive = await restoreLeases(plan, store, federation.durable);
  for (const stage of plan.stages) restoreResults(plan, stage, store);
  plan.halted = plan.stages.some(
    ({ spec, board }) => spec.failure_policy === 'halt_plan' && board.counts().failed > 0,
  );
  return { plan, alive };
}

/** What would be run must be what was submitted. Throws {@link RowUnreadable}. */
function assertWhole({ spec, spec_digest }: PlanRow, stages: readonly StageRow[]): void {
  if (sha256(canonicalJson(spec)) !== spec_digest) throw new RowUnreadable('plan', {}, 'spec or spec_digest');
  const missing = spec.stages.findIndex((_, stage_no) => stages[stage_no]?.stage_no !== stage_no);
  if (missing !== -1) throw new RowUnreadable('stage', { stage_no: missing }, 'stage_no');
}

async function restoreLeases(plan: LivePlan, store: CheckpointStore, durable: boolean): Promise<BundleRow[]> {
  const alive: BundleRow[] = [];
  const over: number[] = [];
  // A shard pays once for an attempt: one that had failed was reported before its lease was lost, and a shard that halted its
  // worker is in a lease of its own as well.
  const paid = plan.stages.map(
    ({ stage_no }) =>
      new Set(store.failures(plan.plan_no, stage_no).map(({ ordinal, attempt }) => `${ordinal}@${attempt}`)),
  );
  for (const bundle of store.bundles(plan.plan_no)) {
    const stage = plan.stages[bundle.stage_no]!;
    const collects = bundle.ordinals.length === 0;
    plan.bundle = bundle.bundle;
    if (collects) stage.collect_attempts = Math.max(stage.collect_attempts, bundle.attempt);
    const survives = bundle.state === 'open' && durable && !collects;
    if (survives) alive.push(bundle);
    else if (bundle.state === 'open') over.push(bundle.bundle);
    for (const ordinal of bundle.ordinals) {
      const lost =
        bundle.state !== 'closed' && !survives && !paid[bundle.stage_no]!.has(`${ordinal}@${bundle.attempt}`);
      if (lost) paid[bundle.stage_no]!.add(`${ordinal}@${bundle.attempt}`);
      const losses = stage.board.lossesOf(ordinal) + (lost ? 1 : 0);
      stage.board.restore(ordinal, { attempt: bundle.attempt, losses });
    }
  }
  if (over.length > 0) {
    await store.write((tx) => {
      for (const bundle of over) tx.setBundleState(plan.plan_no, bundle, 'lost', null);
    }, 'engine');
  }
  return alive;
}

function restoreResults(plan: LivePlan, stage: LiveStage, store: CheckpointStore): void {
  const failures = new Map<number, number>();
  for (const { ordinal } of store.failures(plan.plan_no, stage.stage_no)) {
    failures.set(ordinal, (failures.get(ordinal) ?? 0) + 1);
  }
  for (const [ordinal, count] of failures) stage.board.restore(ordinal, { failures: count });
  for (const { ordinal, status } of store.results(plan.plan_no, plan.revision, stage.stage_no)) {
    // A shard with two results is for the certificate to find.
    const first = ordinal < stage.board.total && stage.board.phaseOf(ordinal) === 'pending';
    if (first) stage.board.restoreResult(ordinal, status);
  }
  if (stage.phase === 'skipped') stage.board.halt();
  stage.board.restored();
}
