import type { CheckpointStore, PlanRow } from './checkpoint/checkpoint-store.js';
import type { Catalogue } from './plan/catalogue.js';
import { LivePlan, type LiveStage } from './plan/live-plan.js';

/** Thrown when a stored plan names an executor that this process does not have. The plan waits, nothing of it is lost. */
export class ExecutorMissing extends Error {
  override readonly name = 'ExecutorMissing';
  constructor(readonly executor: string) {
    super(`Executor ${executor} is not in this build: add its module to HXO_EXECUTORS and restart.`);
  }
}

/** A plan in memory as it was just stored. Throws {@link ExecutorMissing}. */
export function livePlan(row: PlanRow, executor_versions: readonly string[], catalogue: Catalogue): LivePlan {
  const executors = row.spec.stages.map((stage, stage_no) => {
    const executor = catalogue.executors.get(stage.executor);
    if (executor === undefined) throw new ExecutorMissing(stage.executor);
    return { executor, version: executor_versions[stage_no]! };
  });
  return new LivePlan(row.plan_no, row.plan_id, row.revision, row.spec, row.submitted_at, row, executors);
}

/**
 * Rebuilds a plan that has not ended from the store alone. Leases that were open are over: the workers that held them died
 * with the process. That costs their shards a lease, never a retry. Throws {@link ExecutorMissing}.
 */
export async function rehydrate(
  row: PlanRow,
  store: CheckpointStore,
  catalogue: Catalogue,
): Promise<LivePlan> {
  const stages = store.stages(row.plan_no);
  const plan = livePlan(
    row,
    stages.map((stage) => stage.executor_version),
    catalogue,
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
  await restoreLeases(plan, store);
  for (const stage of plan.stages) restoreResults(plan, stage, store);
  plan.halted = plan.stages.some(
    ({ spec, board }) => spec.failure_policy === 'halt_plan' && board.counts().failed > 0,
  );
  return plan;
}

async function restoreLeases(plan: LivePlan, store: CheckpointStore): Promise<void> {
  const open: number[] = [];
  for (const bundle of store.bundles(plan.plan_no)) {
    const stage = plan.stages[bundle.stage_no]!;
    plan.bundle = bundle.bundle;
    if (bundle.ordinals.length === 0)
      stage.collect_attempts = Math.max(stage.collect_attempts, bundle.attempt);
    if (bundle.state === 'open') open.push(bundle.bundle);
    for (const ordinal of bundle.ordinals) {
      const losses = stage.board.lossesOf(ordinal) + (bundle.state === 'closed' ? 0 : 1);
      stage.board.restore(ordinal, { attempt: bundle.attempt, losses });
    }
  }
  if (open.length === 0) return;
  await store.write((tx) => {
    for (const bundle of open) tx.setBundleState(plan.plan_no, bundle, 'lost', null);
  }, 'engine');
}

function restoreResults(plan: LivePlan, stage: LiveStage, store: CheckpointStore): void {
  const failures = new Map<number, number>();
  for (const { ordinal } of store.failures(plan.plan_no, stage.stage_no)) {
    failures.set(ordinal, (failures.get(ordinal) ?? 0) + 1);
  }
  for (const [ordinal, count] of failures) stage.board.restore(ordinal, { failures: count });
  for (const { ordinal, status } of store.resultMarks(plan.plan_no, plan.revision, stage.stage_no)) {
    if (ordinal < stage.board.total) stage.board.restoreResult(ordinal, status);
  }
  if (stage.phase === 'skipped') stage.board.halt();
  stage.board.restored();
}
