import type { PlanRow, StageRow } from './checkpoint/checkpoint-store.js';
import { utcSeconds } from './clock.js';
import { counted } from './counted.js';
import type { LivePlan, LiveStage } from './plan/live-plan.js';
import { isTerminal } from './plan/phases.js';
import type { StageSpec } from './plan/plan-spec.js';
import type { CountsView, PlanListItem, StageView, StatusView } from './views.js';

/** Shards of a stage by phase, from the board while its plan lives, from the stage's row afterwards. */
interface StageCounts extends CountsView {
  readonly retrying_shards: number;
  readonly skipped_shards: number;
  readonly reused_shards: number;
}

/**
 * A plan's status in O(stages): no row of a shard is read.
 *
 * @param capOf the config field by which a partitioner leaves items out; null when it has none
 */
export function statusView(
  plan: PlanRow,
  stages: readonly StageRow[],
  live: LivePlan | undefined,
  waits_for: string | null,
  monotonic_ms: number,
  capOf: (partitioner: string) => string | null,
): StatusView {
  const ended = isTerminal(plan.phase);
  const stopped = ended && plan.root === null;
  const views = stages.map((stage, i) =>
    stageView(stage, plan.spec.stages[i]!, live?.stages[i], stopped, capOf),
  );
  return {
    plan_id: plan.plan_id,
    plan_name: plan.spec.name,
    phase: plan.phase,
    revision: plan.revision,
    ...sumCounts(views),
    total_final: views.every((view) => view.total_final),
    merkle_root: plan.root,
    truth_certified: plan.root !== null,
    submitted_at: timeOrNull(plan.submitted_at),
    started_at: timeOrNull(plan.started_at),
    finished_at: timeOrNull(plan.finished_at),
    eta_seconds: ended ? 0 : live === undefined ? null : etaSeconds(live, monotonic_ms),
    waiting_for: ended ? null : (waits_for ?? waitingFor(plan, views, live)),
    error: plan.error,
    stages: views,
  };
}

export function planListItem(
  plan: PlanRow,
  stages: readonly StageRow[],
  live: LivePlan | undefined,
): PlanListItem {
  const counts = sumCounts(stages.map((stage, i) => stageCounts(stage, live?.stages[i])));
  return {
    plan_id: plan.plan_id,
    plan_name: plan.spec.name,
    phase: plan.phase,
    total_shards: counts.total_shards,
    pending_shards: counts.pending_shards,
    claimed_shards: counts.claimed_shards,
    running_shards: counts.running_shards,
    done_shards: counts.done_shards,
    failed_shards: counts.failed_shards,
    merkle_root: plan.root,
    truth_certified: plan.root !== null,
    submitted_at: timeOrNull(plan.submitted_at),
    finished_at: timeOrNull(plan.finished_at),
  };
}

export function timeOrNull(ms: number | null): string | null {
  return ms === null ? null : utcSeconds(ms);
}

function stageView(
  stage: StageRow,
  spec: StageSpec,
  live: LiveStage | undefined,
  stopped: boolean,
  capOf: (partitioner: string) => string | null,
): StageView {
  return {
    id: spec.id,
    kind: spec.kind,
    partitioner: spec.partitioner,
    executor: spec.executor,
    executor_version: stage.executor_version,
    scheduler: spec.scheduler,
    phase: stage.phase,
    ...stageCounts(stage, live),
    total_final: isTotalFinal(stage, stopped),
    matched: stage.matched,
    taken: stage.taken,
    truncated: stage.truncated,
    capped_by: (stage.truncated ?? 0) > 0 ? capOf(spec.partitioner) : null,
    slo_ms: spec.slo_ms,
    dependencies: spec.dependencies,
    started_at: timeOrNull(stage.started_at),
    finished_at: timeOrNull(stage.finished_at),
    output: stage.output?.digest ?? null,
  };
}

/** Partitioning leaves its summary; a stage that was skipped without it has no shards, unless its plan was stopped before. */
function isTotalFinal({ matched, phase }: StageRow, stopped: boolean): boolean {
  return matched !== null || (phase === 'skipped' && !stopped);
}

function stageCounts(stage: StageRow, live: LiveStage | undefined): StageCounts {
  if (live === undefined) {
    return {
      total_shards: stage.total,
      pending_shards: stage.total - stage.done - stage.failed,
      claimed_shards: 0,
      running_shards: 0,
      done_shards: stage.done,
      failed_shards: stage.failed,
      retrying_shards: 0,
      skipped_shards: stage.skipped,
      reused_shards: stage.reused,
    };
  }
  const counts = live.board.counts();
  return {
    total_shards: live.board.total,
    pending_shards: counts.pending + counts.retrying + counts.skipped,
    claimed_shards: counts.claimed,
    running_shards: counts.running,
    done_shards: counts.done,
    failed_shards: counts.failed,
    retrying_shards: counts.retrying,
    skipped_shards: counts.skipped,
    reused_shards: live.reused,
  };
}

function sumCounts(stages: readonly StageCounts[]): StageCounts {
  const sum = (column: keyof StageCounts): number => stages.reduce((all, stage) => all + stage[column], 0);
  return {
    total_shards: sum('total_shards'),
    pending_shards: sum('pending_shards'),
    claimed_shards: sum('claimed_shards'),
    running_shards: sum('running_shards'),
    done_shards: sum('done_shards'),
    failed_shards: sum('failed_shards'),
    retrying_shards: sum('retrying_shards'),
    skipped_shards: sum('skipped_shards'),
    reused_shards: sum('reused_shards'),
  };
}

/** Remaining shards at the rate that this process has seen, in seconds to a tenth; null while that is unknown. */
function etaSeconds(plan: LivePlan, monotonic_ms: number): number | null {
  let left = 0;
  let executed = 0;
  let began_ms = Infinity;
  for (const stage of plan.stages) {
    const { pending, retrying, claimed, running } = stage.board.counts();
    left += pending + retrying + claimed + running;
    executed += stage.executed;
    if (stage.begun_ms !== null) began_ms = Math.min(began_ms, stage.begun_ms);
  }
  if (left === 0 && plan.phase !== 'partitioning' && plan.phase !== 'submitted') return 0;
  if (executed === 0) return null;
  const rate = executed / Math.max(1, monotonic_ms - began_ms);
  return Math.round(left / rate / 100) / 10;
}

function waitingFor(plan: PlanRow, stages: readonly StageView[], live: LivePlan | undefined): string | null {
  if (plan.phase === 'created') return 'POST /api/hxo/submit';
  const [trouble] = live?.troubles ?? [];
  if (trouble !== undefined) return trouble;
  const retrying = stages.reduce((sum, stage) => sum + stage.retrying_shards, 0);
  const moving = stages.some((stage) => stage.claimed_shards + stage.running_shards > 0);
  return retrying > 0 && !moving ? `the back-off of ${counted(retrying, 'shard')} that failed` : null;
}
