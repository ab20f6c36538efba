import type { Executor } from '../execute/contract.js';
import type { WorkerNeeds } from '../execute/transport.js';
import { BundleSizer } from '../schedule/bundle-size.js';
import { StageBoard } from '../schedule/stage-board.js';
import type { PlanPhase, StagePhase } from '../views.js';
import type { PlanId, PlanSpec, StageSpec } from './plan-spec.js';

/** Thrown through a plan's run when it stops before its natural end. */
export class PlanStopped extends Error {
  override readonly name = 'PlanStopped';
  constructor(
    readonly phase: 'failed' | 'aborted',
    readonly code: string,
    readonly detail: string,
    /** The stage that the plan failed in. */
    readonly stage_no: number | null = null,
  ) {
    super(`${code}: ${detail}`);
  }
}

/** A plan that has not ended, as the leading process holds it in memory: a mirror of what the store has committed. */
export class LivePlan {
  phase: PlanPhase;
  started_at: number | null;
  private readonly stopping = new AbortController();
  /** A failed shard under the policy `halt_plan`: stages that have not begun are skipped. */
  halted = false;
  /** Number of the latest bundle. */
  bundle = 0;
  /** What the machine keeps the plan from, in words. */
  readonly troubles = new Set<string>();
  readonly stages: readonly LiveStage[];

  constructor(
    readonly plan_no: number,
    readonly plan_id: PlanId,
    readonly revision: number,
    readonly spec: PlanSpec,
    from: { readonly phase: PlanPhase; readonly started_at: number | null },
    parts: readonly StageParts[],
  ) {
    this.phase = from.phase;
    this.started_at = from.started_at;
    this.stages = spec.stages.map((stage, stage_no) => {
      return new LiveStage(this, stage_no, stage, parts[stage_no]!);
    });
  }

  /** Set once, by whatever stops the plan first; nothing is leased or accepted from then on. */
  get stopped(): PlanStopped | null {
    return this.signal.aborted ? (this.signal.reason as PlanStopped) : null;
  }

  set stopped(stop: PlanStopped) {
    this.stopping.abort(stop);
  }

  /** Aborted when the plan is stopped: ends what is computed for it elsewhere. */
  get signal(): AbortSignal {
    return this.stopping.signal;
  }

  total(): number {
    return this.stages.reduce((sum, stage) => sum + stage.board.total, 0);
  }
}

/** What of the catalogue a stage works with. */
export interface StageParts {
  readonly executor: Executor;
  /** The executor's version when the plan was submitted. */
  readonly executor_version: string;
  /** It is partitioned when the stages that it depends on are done. */
  readonly follows_dependencies: boolean;
  /** Its shards would only wait for each other. */
  readonly one_by_one: boolean;
}

/** One stage of a live plan. */
export class LiveStage implements StageParts {
  readonly executor: Executor;
  readonly executor_version: string;
  readonly follows_dependencies: boolean;
  readonly one_by_one: boolean;
  /** What its bundles ask of their worker. */
  readonly needs: WorkerNeeds;
  board = new StageBoard();
  readonly sizer = new BundleSizer();
  phase: StagePhase = 'waiting';
  reused = 0;
  started_at: number | null = null;
  /** Monotonic milliseconds when the stage began in this process; what its SLO is measured by. */
  begun_ms: number | null = null;
  /** Shards executed by this process since then: what the remaining time is estimated from. */
  executed = 0;
  /** Leases of the stage's collector. */
  collect_attempts = 0;

  constructor(
    readonly plan: LivePlan,
    readonly stage_no: number,
    readonly spec: StageSpec,
    parts: StageParts,
  ) {
    this.executor = parts.executor;
    this.executor_version = parts.executor_version;
    const { name, reads_files = true } = parts.executor;
    this.needs = { executor: name, executor_version: parts.executor_version, reads_files };
    this.follows_dependencies = parts.follows_dependencies;
    this.one_by_one = parts.one_by_one;
  }

  get plan_id(): PlanId {
    return this.plan.plan_id;
  }

  /** Forgets the shards that a partitioning that failed half way has made. */
  clear(): void {
    this.board = new StageBoard();
    this.reused = 0;
  }

  hasWork(): boolean {
    return this.board.hasWork();
  }
}
