import type { Digest } from '#truth';
import type { CheckpointStore, StoredEvent, Transaction } from '../checkpoint/checkpoint-store.js';
import { ShardLinesReader } from '../checkpoint/shard-lines-reader.js';
import type { Clock } from '../clock.js';
import { acceptOutcomes, failedRow, lease_losses_max, type Acceptance } from '../execute/accept-outcomes.js';
import type { ArtifactStore } from '../execute/artifact-store.js';
import { checkedCollection, checkOutcome } from '../execute/check-outcome.js';
import type { StageOutput } from '../execute/contract.js';
import type {
  Bundle,
  LeaseRef,
  Outcome,
  OutcomeBatch,
  Transport,
  TransportSink,
} from '../execute/transport.js';
import type { GenesisLink } from './genesis.link.js';
import type { TruthLink } from './truth.link.js';
import { PlanStopped, type LivePlan, type LiveStage } from '../plan/live-plan.js';
import { isTerminal } from '../plan/phases.js';
import { backOff } from '../schedule/back-off.js';
import { FairRoundRobin } from '../schedule/fair-round-robin.js';
import { RetryQueue } from '../schedule/retry-queue.js';

/** A worker that has not been heard of for so long has lost its lease. */
export const lease_ms = 30_000;

export interface FederationPorts {
  readonly store: CheckpointStore;
  readonly transport: Transport;
  readonly artifacts: ArtifactStore;
  readonly genesis: GenesisLink;
  readonly truth: TruthLink;
  readonly clock: Clock;
  /** A number in [0, 1). */
  readonly random: () => number;
  /** HXO_MAX_CONCURRENCY: shards executing at once, over all plans. */
  readonly max_concurrency: number;
  /** Told of errors that no caller awaits. */
  readonly onError: (error: unknown) => void;
}

/** Rejected outcomes of a batch that the audit trail names one by one. */
const rejections_named_max = 10;

/** What a lease is for: shards, of which `open` are not reported yet, or the stage's collector. */
type LeasedWork =
  | { readonly type: 'shards'; readonly ordinals: ReadonlySet<number>; readonly open: Set<number> }
  | { readonly type: 'collect'; readonly results: Digest; readonly failures: number };

interface Lease {
  readonly stage: LiveStage;
  readonly bundle: number;
  readonly attempt: number;
  readonly work: LeasedWork;
  /** Shards that it executes at once, of HXO_MAX_CONCURRENCY. */
  readonly concurrency: number;
  /** Monotonic milliseconds. */
  deadline_ms: number;
  /** Has a worker said that it works on it? */
  begun: boolean;
  /** What is heard of a lease is dealt with one after the other. */
  turn: Promise<void>;
}

/** An outcome that is not what it should be. */
interface Rejection {
  readonly ordinal: number;
  readonly message: string;
}

interface CollectorWork {
  readonly stage: LiveStage;
  /** Artifact of the stage's gathered results. */
  readonly results: Digest;
  /** Executor errors so far. */
  readonly failures: number;
}

interface Waiting<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Leases shards to workers and accepts what comes back. Holds a bounded window of bundles in flight; everything that it
 * keeps in memory can be rebuilt from the checkpoint store.
 */
export class FederationLink implements TransportSink {
  private readonly scheduler = new FairRoundRobin<LiveStage>();
  private readonly leases = new Map<string, Lease>();
  private readonly executing = new Map<LiveStage, Waiting<void>>();
  private readonly collecting = new Map<LiveStage, Waiting<StageOutput>>();
  /** Collectors that wait for a lease. */
  private readonly collectors: CollectorWork[] = [];
  private readonly lines: ShardLinesReader;
  private readonly retries: RetryQueue;
  private leasing = false;
  /** Shards that the open leases may execute at once. */
  private executing_max = 0;
  private expiry: NodeJS.Timeout | null = null;

  constructor(private readonly ports: FederationPorts) {
    this.lines = new ShardLinesReader(ports.store);
    this.retries = new RetryQueue(() => ports.clock.monotonic_ms());
  }

  async start(): Promise<void> {
    await this.ports.transport.start(this);
    this.leasing = true;
    this.expiry = setInterval(() => this.expire(), 1_000).unref();
  }

  /** Leases nothing more, waits for what runs, at most `grace_ms`, and stops the workers. */
  async drain(grace_ms: number): Promise<void> {
    this.leasing = false;
    this.retries.stop();
    if (this.expiry !== null) clearInterval(this.expiry);
    await this.ports.transport.stop(grace_ms);
  }

  /** Executes a stage's shards. Resolves when each is done, failed or skipped; rejects when the plan is stopped. */
  execute(stage: LiveStage): Promise<void> {
    if (stage.plan.stopped !== null) return Promise.reject(stage.plan.stopped);
    return new Promise((resolve, reject) => {
      this.executing.set(stage, { resolve, reject });
      this.scheduler.add(stage);
      this.settle(stage);
      this.pump();
    });
  }

  /** Runs a stage's collector over its gathered results, leased and fenced like a shard. Rejects when it fails for good. */
  collect(stage: LiveStage, results: Digest): Promise<StageOutput> {
    if (stage.plan.stopped !== null) return Promise.reject(stage.plan.stopped);
    return new Promise((resolve, reject) => {
      this.collecting.set(stage, { resolve, reject });
      this.collectors.push({ stage, results, failures: 0 });
      this.pump();
    });
  }

  /** Gives up everything of a plan that was stopped: its leases, its waiting work, its workers. */
  async drop(plan: LivePlan): Promise<void> {
    for (const stage of plan.stages) {
      this.scheduler.remove(stage);
      for (const waiting of [this.executing.get(stage), this.collecting.get(stage)])
        waiting?.reject(plan.stopped);
      this.executing.delete(stage);
      this.collecting.delete(stage);
    }
    for (const lease of this.leases.values()) if (lease.stage.plan === plan) this.end(lease);
    await this.ports.transport.cancel(plan.plan_id);
    this.pump();
  }

  // What workers report.

  started(at: LeaseRef & { readonly worker: string }): void {
    const lease = this.leaseOf(at);
    if (lease === undefined) return;
    this.renew(lease);
    lease.begun = true;
    if (lease.work.type === 'shards') lease.stage.board.begin(lease.work.open, lease.attempt);
  }

  heartbeat(at: LeaseRef): void {
    const lease = this.leaseOf(at);
    if (lease !== undefined) this.renew(lease);
  }

  async outcomes(batch: OutcomeBatch): Promise<void> {
    const lease = this.leaseOf(batch);
    // A lease that is over: its shards are, or will be, somebody else's. What it reports comes too late.
    if (lease === undefined) return;
    this.renew(lease);
    const { work } = lease;
    await this.inTurn(lease, () =>
      work.type === 'shards' ? this.accept(lease, work, batch) : this.collected(lease, work, batch),
    );
  }

  lost(at: LeaseRef & { readonly reason: string }): void {
    const lease = this.leaseOf(at);
    if (lease !== undefined) this.guard(this.inTurn(lease, () => this.lose(lease, at.reason)));
  }

  /** The lease that a worker speaks of, if it is not over. */
  private leaseOf(at: LeaseRef): Lease | undefined {
    const lease = this.leases.get(keyOf(at));
    return lease?.attempt === at.attempt ? lease : undefined;
  }

  /** Acts on a lease once everything heard of it earlier is dealt with, unless that has ended it or its plan. */
  private inTurn(lease: Lease, act: () => Promise<void>): Promise<void> {
    // An error of an earlier turn was told to whoever awaited it.
    lease.turn = lease.turn
      .catch(() => {})
      .then(() => {
        const over = this.leaseOf({ ...lease, plan_id: lease.stage.plan_id }) === undefined;
        return over || lease.stage.plan.stopped !== null ? undefined : act();
      });
    return lease.turn;
  }

  private renew(lease: Lease): void {
    lease.deadline_ms = this.ports.clock.monotonic_ms() + lease_ms;
  }

  // Leasing.

  /**
   * Fills the window: one bundle for each slot and one ahead, so that no worker idles between two, as long as the shards
   * and collectors that may be executing stay within HXO_MAX_CONCURRENCY.
   */
  private pump(): void {
    while (
      this.leasing &&
      this.leases.size < this.window() &&
      this.executing_max < this.ports.max_concurrency
    ) {
      const collector = this.collectors.shift();
      const stage = collector === undefined ? this.scheduler.next() : null;
      if (collector !== undefined) this.guard(this.leaseCollector(collector));
      else if (stage !== null) this.guard(this.lease(stage));
      else return;
    }
  }

  private window(): number {
    return 2 * this.ports.transport.slots();
  }

  /** An `io` bundle executes its shards together, within its worker's share of HXO_MAX_CONCURRENCY. */
  private concurrency(stage: LiveStage, shards: number): number {
    if (stage.executor.load === 'cpu') return 1;
    const { max_concurrency, transport } = this.ports;
    const share = Math.ceil(max_concurrency / transport.slots());
    return Math.min(shards, share, max_concurrency - this.executing_max);
  }

  private async lease(stage: LiveStage): Promise<void> {
    const { store, transport, genesis, clock } = this.ports;
    const { plan, stage_no, spec, board } = stage;
    const claim = board.claim(stage.sizer.next(board.waiting(), this.window()));
    if (claim === null) return;
    const { ordinals, attempt } = claim;
    const work = { type: 'shards' as const, ordinals: new Set(ordinals), open: new Set(ordinals) };
    const lease = this.open(stage, attempt, work, this.concurrency(stage, ordinals.length));
    const row = { bundle: lease.bundle, stage_no, ordinals, attempt, state: 'open' as const };
    const events = await store.write((tx) => {
      if (isTerminal(tx.planPhase(plan.plan_no))) return [];
      tx.insertBundle(plan.plan_no, row, clock.now_ms());
      return tx.appendEvents(
        genesis.shards('hxo.shard.claimed', plan.plan_id, spec.id, ordinals, {
          bundle: lease.bundle,
          attempt,
        }),
      );
    }, 'engine');
    genesis.announce(events);
    if (plan.stopped !== null) return;
    if (!this.leasing) return this.handBack(lease);
    const shards = this.lines.read(plan.plan_no, stage_no, ordinals);
    await transport.dispatch(bundleOf(lease, { type: 'shards', shards }));
  }

  private async leaseCollector({ stage, results, failures }: CollectorWork): Promise<void> {
    const { store, transport, clock } = this.ports;
    const { plan, stage_no } = stage;
    if (plan.stopped !== null) return;
    const lease = this.open(stage, ++stage.collect_attempts, { type: 'collect', results, failures }, 1);
    const row = {
      bundle: lease.bundle,
      stage_no,
      ordinals: [],
      attempt: lease.attempt,
      state: 'open' as const,
    };
    await store.write((tx) => {
      if (!isTerminal(tx.planPhase(plan.plan_no))) tx.insertBundle(plan.plan_no, row, clock.now_ms());
    }, 'engine');
    if (plan.stopped !== null) return;
    if (!this.leasing) return this.handBack(lease);
    await transport.dispatch(bundleOf(lease, { type: 'collect', results }));
  }

  private open(stage: LiveStage, attempt: number, work: LeasedWork, concurrency: number): Lease {
    const deadline_ms = this.ports.clock.monotonic_ms() + lease_ms;
    const bundle = ++stage.plan.bundle;
    const held = { stage, bundle, attempt, work, concurrency };
    const lease: Lease = { ...held, deadline_ms, begun: false, turn: Promise.resolve() };
    this.leases.set(keyOf({ plan_id: stage.plan_id, bundle }), lease);
    this.executing_max += concurrency;
    return lease;
  }

  private end(lease: Lease): void {
    const ended = this.leases.delete(keyOf({ plan_id: lease.stage.plan_id, bundle: lease.bundle }));
    if (ended) this.executing_max -= lease.concurrency;
  }

  // Acceptance.

  private async accept(
    lease: Lease,
    { ordinals, open }: Extract<LeasedWork, { type: 'shards' }>,
    batch: OutcomeBatch,
  ): Promise<void> {
    const { store, genesis, truth, clock } = this.ports;
    const { stage } = lease;
    const { outcomes, rejections } = await this.checked(ordinals, batch.outcomes);
    const checked = { ...batch, outcomes };
    const accepted = await store.write((tx) => {
      const audited = this.auditRejections(tx, lease, rejections);
      const taken = acceptOutcomes(tx, stage, checked, { genesis, truth, now_ms: clock.now_ms() });
      return { ...taken, events: [...audited, ...taken.events] };
    }, 'engine');
    genesis.announce(accepted.events);
    if (stage.plan.stopped !== null) return;
    for (const { ordinal } of outcomes) open.delete(ordinal);
    stage.sizer.observe(accepted.done.length, sum(outcomes));
    stage.executed += accepted.done.length;
    this.follow(stage, accepted);
    if (batch.final) {
      for (const ordinal of open) stage.board.release(ordinal);
      this.end(lease);
    }
    this.settle(stage);
    this.pump();
  }

  /** Outcomes that are not what they should be become failures of their shards; those of foreign shards are dropped. */
  private async checked(
    leased: ReadonlySet<number>,
    outcomes: readonly Outcome[],
  ): Promise<{ readonly outcomes: Outcome[]; readonly rejections: Rejection[] }> {
    const checked: Outcome[] = [];
    const rejections: Rejection[] = [];
    for (const outcome of outcomes) {
      const message = await checkOutcome(outcome, leased, this.ports.artifacts);
      if (message === null) {
        checked.push(outcome);
        continue;
      }
      const { ordinal, duration_ms } = outcome;
      rejections.push({ ordinal, message });
      if (!leased.has(ordinal)) continue;
      const code = 'RESULT_REJECTED';
      checked.push({ ordinal, status: 'failed', verdict: 'retry', code, message, duration_ms });
    }
    return { outcomes: checked, rejections };
  }

  /** One entry a batch, so that a broken worker cannot flood the trail. */
  private auditRejections(
    tx: Transaction,
    { stage }: Lease,
    rejections: readonly Rejection[],
  ): StoredEvent[] {
    if (rejections.length === 0) return [];
    const shards = rejections
      .slice(0, rejections_named_max)
      .map(({ ordinal, message }) => ({ ordinal, message }));
    return this.ports.truth.audit(tx, {
      actor: 'hxo',
      action: 'result.rejected',
      outcome: 'rejected',
      plan_id: stage.plan_id,
      data: { stage: stage.spec.id, code: 'RESULT_REJECTED', rejected: rejections.length, shards },
    });
  }

  /** Moves the board to where the store is. */
  private follow(stage: LiveStage, accepted: Acceptance): void {
    const { board, spec, plan } = stage;
    for (const ordinal of accepted.done) board.done(ordinal);
    for (const ordinal of accepted.returned) board.lose(ordinal);
    for (const { ordinal, final } of accepted.failures) {
      if (final) {
        board.failed(ordinal);
        continue;
      }
      board.retryLater(ordinal);
      const delay_ms = backOff(spec.retry, board.failuresOf(ordinal), this.ports.random());
      this.retries.after(delay_ms, () => {
        board.retry(ordinal);
        this.pump();
      });
    }
    if (!accepted.failures.some((failure) => failure.final)) return;
    if (spec.failure_policy === 'halt_stage') board.halt();
    if (spec.failure_policy === 'halt_plan') {
      plan.halted = true;
      for (const other of plan.stages) if (this.executing.has(other)) other.board.halt();
    }
  }

  private settle(stage: LiveStage): void {
    for (const each of stage.plan.halted ? stage.plan.stages : [stage]) {
      const waiting = this.executing.get(each);
      if (waiting === undefined) continue;
      if (each.board.blockedByWave()) each.board.halt();
      if (!each.board.settled()) continue;
      this.executing.delete(each);
      this.scheduler.remove(each);
      waiting.resolve();
    }
  }

  private async collected(
    lease: Lease,
    work: Extract<LeasedWork, { type: 'collect' }>,
    batch: OutcomeBatch,
  ): Promise<void> {
    const { store, artifacts } = this.ports;
    const { stage } = lease;
    const outcome = batch.outcomes[0] && (await checkedCollection(batch.outcomes[0], artifacts));
    await store.write(
      (tx) => tx.setBundleState(stage.plan.plan_no, lease.bundle, 'closed', batch.worker),
      'engine',
    );
    this.end(lease);
    const waiting = this.collecting.get(stage);
    if (waiting === undefined || stage.plan.stopped !== null) return;
    if (outcome?.status === 'done') {
      this.collecting.delete(stage);
      waiting.resolve(JSON.parse(outcome.value) as StageOutput);
    } else {
      const failures = work.failures + (outcome === undefined ? 0 : 1);
      this.retryCollector(stage, work.results, failures, outcome);
    }
    this.pump();
  }

  private retryCollector(
    stage: LiveStage,
    results: Digest,
    failures: number,
    outcome: Extract<Outcome, { status: 'failed' }> | undefined,
  ): void {
    const { retry } = stage.spec;
    if (
      outcome?.verdict === 'fail' ||
      failures >= retry.max_failures ||
      stage.collect_attempts > lease_losses_max
    ) {
      const why = outcome === undefined ? 'its workers were lost' : `${outcome.code}: ${outcome.message}`;
      this.collecting
        .get(stage)
        ?.reject(
          new PlanStopped(
            'failed',
            'COLLECT_FAILED',
            `The collector of stage ${stage.spec.id} failed: ${why}`,
          ),
        );
      this.collecting.delete(stage);
      return;
    }
    const delay_ms = failures === 0 ? 0 : backOff(retry, failures, this.ports.random());
    this.retries.after(delay_ms, () => {
      this.collectors.push({ stage, results, failures });
      this.pump();
    });
  }

  // Leases that are lost.

  private expire(): void {
    const now = this.ports.clock.monotonic_ms();
    for (const lease of this.leases.values()) {
      if (lease.deadline_ms >= now) continue;
      this.guard(
        this.inTurn(lease, async () => {
          // What was dealt with meanwhile may have been a sign of life.
          if (lease.deadline_ms < now) await this.lose(lease, 'no heartbeat');
        }),
      );
    }
  }

  private async lose(lease: Lease, reason: string): Promise<void> {
    const { stage, work } = lease;
    this.end(lease);
    if (stage.plan.stopped !== null) return;
    if (!this.leasing) return this.handBack(lease);
    const open = work.type === 'shards' ? [...work.open] : [];
    const events = await this.ports.store.write((tx) => this.storeLoss(tx, lease, open, reason), 'engine');
    this.ports.genesis.announce(events);
    if (stage.plan.stopped !== null) return;
    if (work.type === 'collect') this.retryCollector(stage, work.results, work.failures, undefined);
    for (const ordinal of open) {
      if (stage.board.lossesOf(ordinal) + 1 > lease_losses_max) stage.board.failed(ordinal);
      else stage.board.lose(ordinal);
    }
    this.settle(stage);
    this.pump();
  }

  /** While draining: a lease that no worker has begun is closed, so that a restart costs its shards nothing. */
  private async handBack(lease: Lease): Promise<void> {
    if (lease.begun) return;
    const { plan_no } = lease.stage.plan;
    await this.ports.store.write((tx) => tx.setBundleState(plan_no, lease.bundle, 'closed', null), 'engine');
  }

  /** Stores that a lease was lost; a shard that loses one too many has failed for good. */
  private storeLoss(tx: Transaction, lease: Lease, open: readonly number[], reason: string): StoredEvent[] {
    const { plan, stage_no, board, spec } = lease.stage;
    tx.setBundleState(plan.plan_no, lease.bundle, 'lost', null);
    const gone = open.filter((ordinal) => board.lossesOf(ordinal) + 1 > lease_losses_max);
    if (gone.length === 0) return [];
    const code = 'LEASES_LOST';
    const message = `Its worker was lost ${lease_losses_max + 1} times, last: ${reason}`;
    for (const ordinal of gone) {
      const row = failedRow(
        { ordinal, code, message, duration_ms: 0 },
        { attempt: lease.attempt, worker: '' },
        this.ports.clock.now_ms(),
      );
      tx.insertResult(plan.plan_no, plan.revision, stage_no, row);
    }
    tx.countStage(plan.plan_no, stage_no, { failed: gone.length });
    const told = gone.map((ordinal) => ({ ordinal, attempt: lease.attempt, code, message, final: true }));
    return tx.appendEvents(this.ports.genesis.failures(plan.plan_id, spec.id, told));
  }

  /** For work that nobody awaits: an error there is a programmer's mistake, or the end of the store. */
  private guard(work: Promise<void>): void {
    work.catch((error: unknown) => this.ports.onError(error));
  }
}

function bundleOf(lease: Lease, work: Bundle['work']): Bundle {
  const { stage } = lease;
  return {
    plan_id: stage.plan_id,
    bundle: lease.bundle,
    attempt: lease.attempt,
    stage: stage.spec.id,
    executor: stage.spec.executor,
    executor_version: stage.executor_version,
    isolation: stage.executor.isolation,
    concurrency: lease.concurrency,
    shard_timeout_ms: work.type === 'collect' ? 0 : stage.spec.shard_timeout_ms,
    work,
  };
}

function keyOf(lease: { readonly plan_id: string; readonly bundle: number }): string {
  return `${lease.plan_id}/${lease.bundle}`;
}

function sum(outcomes: readonly Outcome[]): number {
  return outcomes.reduce(
    (total, outcome) => total + (outcome.status === 'done' ? outcome.duration_ms : 0),
    0,
  );
}
