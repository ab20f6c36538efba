import type { Digest } from '#truth';
import { lease_losses_max } from '../execute/accept-loss.js';
import type { StageOutput } from '../execute/contract.js';
import type { Outcome } from '../execute/transport.js';
import { PlanStopped, type LivePlan, type LiveStage } from '../plan/live-plan.js';
import type { StageSpec } from '../plan/plan-spec.js';
import { backOff } from './back-off.js';
import type { CollectWork } from './leases.js';
import type { RetryQueue } from './retry-queue.js';

/** A collector reads all results of its stage: it gets the limit of a shard, and at least so long. */
export const collect_timeout_min_ms = 600_000;

/** Limit of a stage's collector in milliseconds; 0, no limit, when its shards have none. */
export function collectTimeout({ shard_timeout_ms }: Pick<StageSpec, 'shard_timeout_ms'>): number {
  return shard_timeout_ms === 0 ? 0 : Math.max(shard_timeout_ms, collect_timeout_min_ms);
}

/** A collector that waits for a lease. */
export interface WaitingCollector {
  readonly stage: LiveStage;
  readonly work: CollectWork;
}

interface Caller {
  readonly resolve: (output: StageOutput) => void;
  readonly reject: (reason: unknown) => void;
}

/** Stages whose shards are done and whose output is being collected: leased, fenced and retried like a shard. */
export class Collectors {
  private readonly callers = new Map<LiveStage, Caller>();
  private waiting: WaitingCollector[] = [];

  /** @param ready told when a collector waits for a lease */
  constructor(
    private readonly retries: RetryQueue,
    private readonly random: () => number,
    private readonly ready: () => void,
  ) {}

  /** Resolves with the stage's output. Rejects when the collector fails for good, or the plan is stopped. */
  collect(stage: LiveStage, results: Digest): Promise<StageOutput> {
    return new Promise((resolve, reject) => {
      this.callers.set(stage, { resolve, reject });
      this.wait({ stage, work: { type: 'collect', results, failures: 0 } });
    });
  }

  /** The plan of this id, if a stage of it is being collected. */
  plan(plan_id: string): LivePlan | undefined {
    for (const stage of this.callers.keys()) if (stage.plan_id === plan_id) return stage.plan;
    return undefined;
  }

  /** Takes the first collector that is eligible for a lease, or null. */
  next(eligible: (stage: LiveStage) => boolean): WaitingCollector | null {
    const index = this.waiting.findIndex(({ stage }) => eligible(stage));
    return index === -1 ? null : this.waiting.splice(index, 1)[0]!;
  }

  /** Ends the wait for a collector that cannot go on. False when nobody waits for it. */
  fail(stage: LiveStage, reason: unknown): boolean {
    const caller = this.callers.get(stage);
    this.callers.delete(stage);
    this.waiting = this.waiting.filter((collector) => collector.stage !== stage);
    caller?.reject(reason);
    return caller !== undefined;
  }

  drop(plan: LivePlan): void {
    this.waiting = this.waiting.filter(({ stage }) => stage.plan !== plan);
    for (const stage of plan.stages) {
      this.callers.get(stage)?.reject(plan.stopped);
      this.callers.delete(stage);
    }
  }

  /** A lease has ended with this outcome; undefined when its worker was lost or did nothing. */
  ended(stage: LiveStage, work: CollectWork, outcome: Outcome | undefined): void {
    const caller = this.callers.get(stage);
    if (caller === undefined) return;
    if (outcome?.status === 'done') {
      this.callers.delete(stage);
      caller.resolve(JSON.parse(outcome.value) as StageOutput);
      return;
    }
    const failures = work.failures + (outcome === undefined ? 0 : 1);
    const { retry, id } = stage.spec;
    const spent = failures >= retry.max_failures || stage.collect_attempts > lease_losses_max;
    if (outcome?.verdict === 'fail' || spent) {
      const why = outcome === undefined ? 'its workers were lost' : `${outcome.code}: ${outcome.message}`;
      this.callers.delete(stage);
      const detail = `The collector of stage ${id} failed: ${why}`;
      caller.reject(new PlanStopped('failed', 'COLLECT_FAILED', detail, stage.stage_no));
      return;
    }
    const delay_ms = failures === 0 ? 0 : backOff(retry, failures, this.random());
    this.retries.after(delay_ms, () => this.wait({ stage, work: { ...work, failures } }));
  }

  /** Waits for a lease, unless nobody waits for the collector any more. */
  wait(collector: WaitingCollector): void {
    if (!this.callers.has(collector.stage)) return;
    this.waiting.push(collector);
    this.ready();
  }
}
