import type { CheckpointStore } from '../checkpoint/checkpoint-store.js';
import type { Clock } from '../clock.js';
import type { GenesisLink } from '../links/genesis.link.js';
import type { TruthLink } from '../links/truth.link.js';
import type { LivePlan, LiveStage } from '../plan/live-plan.js';
import { backOff } from '../schedule/back-off.js';
import { FairRoundRobin } from '../schedule/fair-round-robin.js';
import type { Lease, ShardWork } from '../schedule/leases.js';
import type { RetryQueue } from '../schedule/retry-queue.js';
import { acceptLoss, isLastLoss } from './accept-loss.js';
import { acceptOutcomes, auditRejections, type Acceptance, type TakenReports } from './accept-outcomes.js';
import type { ArtifactStore } from './artifact-store.js';
import { checkReports } from './check-outcome.js';
import { disk_full } from './outcome.js';
import type { Outcome } from './transport.js';

export interface AcceptancePorts {
  readonly store: CheckpointStore;
  readonly artifacts: ArtifactStore;
  readonly genesis: GenesisLink;
  readonly truth: TruthLink;
  readonly clock: Clock;
  /** A number in [0, 1). */
  readonly random: () => number;
}

interface Caller {
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/** Stages whose shards are being executed: says whose turn it is, accepts what becomes of shards, and when all have ended. */
export class ExecutingStages {
  private readonly scheduler = new FairRoundRobin<LiveStage>();
  private readonly callers = new Map<LiveStage, Caller>();
  /** Stages whose shards come back through no fault of their own, and what they wait for, until one of them is done. */
  private readonly waits = new Map<LiveStage, string>();

  /** @param ready told when shards wait for a lease */
  constructor(
    private readonly ports: AcceptancePorts,
    private readonly retries: RetryQueue,
    private readonly ready: () => void,
  ) {}

  /** Resolves when each shard is done, failed or skipped. Rejects when the plan is stopped. */
  execute(stage: LiveStage): Promise<void> {
    return new Promise((resolve, reject) => {
      this.callers.set(stage, { resolve, reject });
      this.scheduler.add(stage);
      this.settle(stage);
      this.ready();
    });
  }

  /** The stage whose turn it is, of those that are eligible for a lease and have work; or null. */
  next(eligible: (stage: LiveStage) => boolean): LiveStage | null {
    return this.scheduler.next(eligible);
  }

  has(stage: LiveStage): boolean {
    return this.callers.has(stage);
  }

  /** The plan of this id, if a stage of it is being executed. */
  plan(plan_id: string): LivePlan | undefined {
    for (const stage of this.callers.keys()) if (stage.plan_id === plan_id) return stage.plan;
    return undefined;
  }

  /** What the stage's shards wait for while workers give them back, in words. */
  waitsFor(stage: LiveStage): string | null {
    return this.waits.get(stage) ?? null;
  }

  /** Workers give the stage's shards back: says what they wait for, in words. */
  setWaits(stage: LiveStage, what: string): void {
    if (this.has(stage)) this.waits.set(stage, what);
  }

  /** Ends the execution of a stage that cannot go on. False when it is not being executed. */
  fail(stage: LiveStage, reason: unknown): boolean {
    const caller = this.remove(stage);
    caller?.reject(reason);
    return caller !== undefined;
  }

  drop(plan: LivePlan): void {
    for (const stage of plan.stages) this.remove(stage)?.reject(plan.stopped);
  }

  /**
   * Accepts outcomes of a lease, and frees its shards that have none when the batch is its last. An error before the commit
   * leaves the reports to be taken again. Once the commit stands they are never taken again, whatever happens: results have
   * no key for each shard, and it is the board that knows which shards have one. An error then ends the plan.
   */
  async accept(lease: Lease, work: ShardWork, batch: TakenReports): Promise<void> {
    const { stage } = lease;
    const { ordinals } = work;
    const { store, genesis, truth, clock, artifacts } = this.ports;
    const { outcomes, rejections } = await checkReports(batch.reports, ordinals, artifacts);
    const accepted = await store.write((tx) => {
      const audited = auditRejections(tx, stage, rejections, truth);
      const now_ms = clock.now_ms();
      const taken = acceptOutcomes(tx, stage, { ...batch, outcomes }, { genesis, truth, now_ms });
      return { ...taken, events: [...audited, ...taken.events] };
    }, 'shards');
    lease.reported.splice(0, batch.reports.length);
    try {
      if (stage.plan.stopped === null) this.follow(lease, work, outcomes, accepted, batch.worker);
      genesis.announce(accepted.events);
      if (stage.plan.stopped !== null) return;
      if (batch.final) this.release(stage, work.open);
      else this.settle(stage);
    } catch (error) {
      if (!this.fail(stage, error)) throw error;
    }
  }

  /** Takes in that a lease was lost with its worker, which had not reported the shards that are still open. */
  async lose(lease: Lease, { open }: ShardWork, reason: string): Promise<void> {
    const { store, genesis, clock } = this.ports;
    const { stage } = lease;
    const ordinals = [...open];
    const now_ms = clock.now_ms();
    const events = await store.write(
      (tx) => acceptLoss(tx, stage, lease, ordinals, reason, { genesis, now_ms }),
      'shards',
    );
    if (stage.plan.stopped === null) this.followLoss(stage, ordinals);
    genesis.announce(events);
    if (stage.plan.stopped === null) this.settle(stage);
  }

  private followLoss(stage: LiveStage, ordinals: readonly number[]): void {
    const gone = ordinals.filter((ordinal) => isLastLoss(stage.board.lossesOf(ordinal)));
    for (const ordinal of gone) stage.board.failed(ordinal, 'loss');
    for (const ordinal of ordinals) if (stage.board.isUnderWay(ordinal)) stage.board.lose(ordinal);
    if (gone.length > 0) this.applyPolicy(stage);
  }

  /** Frees leased shards that were not executed. */
  release(stage: LiveStage, ordinals: Iterable<number>): void {
    for (const ordinal of ordinals) stage.board.release(ordinal);
    this.settle(stage);
  }

  /** Moves the board, and what else counts the lease's shards, to where the store is. */
  private follow(
    { stage, concurrency }: Lease,
    { open }: ShardWork,
    outcomes: readonly Outcome[],
    accepted: Acceptance,
    worker: string,
  ): void {
    const { board } = stage;
    // What was neither accepted nor refused anew, a failure that was known, say, is still open: it comes free in the end.
    for (const ordinal of accepted.done) open.delete(ordinal);
    for (const { ordinal } of [...accepted.failures, ...accepted.returned]) open.delete(ordinal);
    // Shards that run together take their slot's time together.
    stage.sizer.observe(accepted.done.length, sum(outcomes) / concurrency);
    stage.executed += accepted.done.length;
    for (const ordinal of accepted.done) board.done(ordinal);
    if (accepted.done.length > 0) this.waits.delete(stage);
    for (const { ordinal, code, charged } of accepted.returned) {
      if (code === disk_full) this.setWaits(stage, `room on the disk of ${worker}`);
      board.retryLater(ordinal, charged ? 'loss' : null);
      this.retryLater(stage, ordinal, board.attemptOf(ordinal));
    }
    for (const { ordinal, final } of accepted.failures) {
      if (final) {
        board.failed(ordinal);
        continue;
      }
      board.retryLater(ordinal);
      this.retryLater(stage, ordinal, board.failuresOf(ordinal));
    }
    if (accepted.failures.some((failure) => failure.final)) this.applyPolicy(stage);
  }

  /** @param times that the shard has come back so far, from 1 */
  private retryLater({ board, spec }: LiveStage, ordinal: number, times: number): void {
    this.retries.after(backOff(spec.retry, times, this.ports.random()), () => {
      board.retry(ordinal);
      this.ready();
    });
  }

  /** What a shard that has failed for good means for the others. */
  private applyPolicy({ board, spec, plan }: LiveStage): void {
    if (spec.failure_policy === 'halt_stage') board.halt();
    if (spec.failure_policy === 'halt_plan') {
      plan.halted = true;
      for (const other of plan.stages) if (this.has(other)) other.board.halt();
    }
  }

  private settle(stage: LiveStage): void {
    for (const each of stage.plan.halted ? stage.plan.stages : [stage]) {
      if (!this.has(each)) continue;
      if (each.board.blockedByWave()) each.board.halt();
      if (each.board.settled()) this.remove(each)?.resolve();
    }
  }

  private remove(stage: LiveStage): Caller | undefined {
    const caller = this.callers.get(stage);
    this.callers.delete(stage);
    this.waits.delete(stage);
    this.scheduler.remove(stage);
    return caller;
  }
}

function sum(outcomes: readonly Outcome[]): number {
  return outcomes.reduce(
    (total, outcome) => total + (outcome.status === 'done' ? outcome.duration_ms : 0),
    0,
  );
}
