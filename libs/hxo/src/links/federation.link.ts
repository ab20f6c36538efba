import type { Digest } from '#truth';
import type { BundleRow, CheckpointStore } from '../checkpoint/checkpoint-store.js';
import { ShardLinesReader } from '../checkpoint/shard-lines-reader.js';
import type { Clock } from '../clock.js';
import {
  acceptLoss,
  acceptOutcomes,
  auditRejections,
  isLastLoss,
  type Acceptance,
} from '../execute/accept-outcomes.js';
import type { ArtifactStore } from '../execute/artifact-store.js';
import { checkBatch, checkedCollection } from '../execute/check-outcome.js';
import type { StageOutput } from '../execute/contract.js';
import { disk_full } from '../execute/outcome.js';
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
import type { LivePlan, LiveStage } from '../plan/live-plan.js';
import { isTerminal } from '../plan/phases.js';
import { backOff } from '../schedule/back-off.js';
import { Collectors, collectTimeout, type WaitingCollector } from '../schedule/collectors.js';
import { FairRoundRobin } from '../schedule/fair-round-robin.js';
import { Leases, refOf, type CollectWork, type Lease, type ShardWork } from '../schedule/leases.js';
import { RetryQueue } from '../schedule/retry-queue.js';

/** How often leases are checked for their deadlines. */
const expire_every_ms = 1_000;
/** How often the transport is asked what it no longer carries: a lease that is missing twice running is lost. */
const reconcile_every_ms = 2_000;
/** Wait before bundles that the transport did not take are offered again. */
const offer_again_ms = 1_000;

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

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Leases shards to workers and accepts what comes back. Holds a bounded window of bundles in flight; everything that it
 * keeps in memory can be rebuilt from the checkpoint store.
 */
export class FederationLink implements TransportSink {
  private readonly scheduler = new FairRoundRobin<LiveStage>();
  private readonly leases: Leases;
  private readonly executing = new Map<LiveStage, Waiting>();
  private readonly collectors: Collectors;
  private readonly lines: ShardLinesReader;
  private readonly retries: RetryQueue;
  /** Stages whose shards come back because of a full disk, until one of them is done. */
  private readonly disk_full = new Map<LiveStage, string>();
  private leasing = false;
  private timers: NodeJS.Timeout[] = [];

  constructor(private readonly ports: FederationPorts) {
    this.leases = new Leases(() => ports.clock.monotonic_ms());
    this.lines = new ShardLinesReader(ports.store);
    this.retries = new RetryQueue(() => ports.clock.monotonic_ms());
    this.collectors = new Collectors(this.retries, ports.random, () => this.pump());
  }

  /** Do bundles outlive this process? */
  get durable(): boolean {
    return this.ports.transport.durable;
  }

  async start(): Promise<void> {
    await this.ports.transport.start(this);
    this.leasing = true;
    this.timers = [
      setInterval(() => this.expire(), expire_every_ms).unref(),
      setInterval(() => this.guard(this.reconcile()), reconcile_every_ms).unref(),
    ];
    this.pump();
  }

  /** Leases nothing more, waits for what runs, at most `grace_ms`, and stops the workers of this process. */
  async drain(grace_ms: number): Promise<void> {
    this.leasing = false;
    this.retries.stop();
    for (const timer of this.timers) clearInterval(timer);
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
    return this.collectors.collect(stage, results);
  }

  /** Gives up everything of a plan that was stopped: its leases, its waiting work, its workers. */
  async drop(plan: LivePlan): Promise<void> {
    for (const stage of plan.stages) {
      this.scheduler.remove(stage);
      this.executing.get(stage)?.reject(plan.stopped);
      this.executing.delete(stage);
      this.disk_full.delete(stage);
    }
    this.collectors.drop(plan);
    for (const lease of this.leases.ofPlan(plan)) this.leases.end(lease);
    await this.ports.transport.cancel(plan.plan_id);
    this.pump();
  }

  /**
   * Takes up leases that an earlier process gave, for a transport whose bundles outlive it: each gets one fresh term. To be
   * called before {@link start}, so that no report of theirs comes too early.
   */
  resume(plan: LivePlan, bundles: readonly BundleRow[]): void {
    for (const { stage_no, bundle, attempt, ordinals } of bundles) {
      const stage = plan.stages[stage_no]!;
      const mine = ordinals.filter((ordinal) => stage.board.reclaim(ordinal, attempt));
      const work: ShardWork = { type: 'shards', ordinals: new Set(ordinals), open: new Set(mine) };
      const concurrency = stage.executor.load === 'cpu' ? 1 : ordinals.length;
      this.leases.grant(this.leases.open({ stage, bundle, attempt, work, concurrency }));
    }
  }

  /** What keeps a plan's shards from being executed, in words; null when nothing does. */
  obstacle(plan: LivePlan): string | null {
    for (const stage of plan.stages) {
      if (!this.executing.has(stage)) continue;
      const { board, spec, executor_version } = stage;
      const obstacle =
        board.waiting() > 0 ? this.ports.transport.obstacle(spec.executor, executor_version) : null;
      const waits_for = obstacle ?? this.disk_full.get(stage);
      if (waits_for !== undefined) return waits_for;
    }
    return null;
  }

  /** What keeps workers from being reached, in words; empty when nothing does. */
  problems(): Promise<readonly string[]> {
    return this.ports.transport.problems();
  }

  // What workers report.

  started(at: LeaseRef & { readonly worker: string }): void {
    const lease = this.leases.of(at);
    if (lease === undefined) return;
    this.leases.renew(lease);
    lease.begun = true;
    if (lease.work.type === 'shards') lease.stage.board.begin(lease.work.open, lease.attempt);
  }

  heartbeat(at: LeaseRef): void {
    const lease = this.leases.of(at);
    if (lease !== undefined) this.leases.renew(lease);
  }

  async outcomes(batch: OutcomeBatch): Promise<void> {
    const lease = this.leases.of(batch);
    // A lease that is over: its shards are, or will be, somebody else's. What it reports comes too late.
    if (lease === undefined) return;
    this.leases.renew(lease);
    const { work } = lease;
    await this.leases.inTurn(lease, () =>
      work.type === 'shards' ? this.accept(lease, work, batch) : this.collected(lease, work, batch),
    );
  }

  lost(at: LeaseRef & { readonly reason: string }): void {
    const lease = this.leases.of(at);
    if (lease !== undefined) this.guard(this.leases.inTurn(lease, () => this.lose(lease, at.reason)));
  }

  changed(): void {
    this.pump();
  }

  // Leasing.

  /**
   * Fills the window: for each executor one bundle for each slot and one ahead, so that no worker idles between two, as
   * long as the shards and collectors that may be executing stay within HXO_MAX_CONCURRENCY.
   */
  private pump(): void {
    const hasRoom = ({ spec }: LiveStage): boolean =>
      this.leases.inFlight(spec.executor) < this.window(spec.executor);
    while (this.leasing && this.leases.executingMax() < this.ports.max_concurrency) {
      const collector = this.collectors.next(hasRoom);
      const stage = collector === null ? this.scheduler.next(hasRoom) : null;
      if (collector !== null) this.guard(this.leaseCollector(collector));
      else if (stage !== null) this.guard(this.lease(stage));
      else return;
    }
  }

  private window(executor: string): number {
    return 2 * this.ports.transport.slots(executor);
  }

  /** An `io` bundle executes its shards together, within its worker's share of HXO_MAX_CONCURRENCY. */
  private concurrency({ executor }: LiveStage, shards: number): number {
    if (executor.load === 'cpu') return 1;
    const { max_concurrency, transport } = this.ports;
    const share = Math.ceil(max_concurrency / Math.max(1, transport.slots(executor.name)));
    return Math.min(shards, share, max_concurrency - this.leases.executingMax());
  }

  private async lease(stage: LiveStage): Promise<void> {
    const { store, genesis, clock } = this.ports;
    const { plan, stage_no, spec, board } = stage;
    const claim = board.claim(stage.sizer.next(board.waiting(), this.window(spec.executor)));
    if (claim === null) return;
    const { ordinals, attempt } = claim;
    const work: ShardWork = { type: 'shards', ordinals: new Set(ordinals), open: new Set(ordinals) };
    const concurrency = this.concurrency(stage, ordinals.length);
    const lease = this.leases.open({ stage, bundle: ++plan.bundle, attempt, work, concurrency });
    const row = { bundle: lease.bundle, stage_no, ordinals, attempt, state: 'open' as const };
    const events = await store.write((tx) => {
      if (isTerminal(tx.planPhase(plan.plan_no))) return [];
      tx.insertBundle(plan.plan_no, row, clock.now_ms());
      const told = { bundle: lease.bundle, attempt };
      return tx.appendEvents(genesis.shards('hxo.shard.claimed', plan.plan_id, spec.id, ordinals, told));
    }, 'engine');
    genesis.announce(events);
    this.leases.grant(lease);
    const shards = this.lines.read(plan.plan_no, stage_no, ordinals);
    await this.dispatch(lease, { type: 'shards', shards });
  }

  private async leaseCollector({ stage, work }: WaitingCollector): Promise<void> {
    const { store, clock } = this.ports;
    const { plan, stage_no } = stage;
    const attempt = ++stage.collect_attempts;
    const lease = this.leases.open({ stage, bundle: ++plan.bundle, attempt, work, concurrency: 1 });
    const row = { bundle: lease.bundle, stage_no, ordinals: [], attempt, state: 'open' as const };
    await store.write((tx) => {
      if (!isTerminal(tx.planPhase(plan.plan_no))) tx.insertBundle(plan.plan_no, row, clock.now_ms());
    }, 'engine');
    this.leases.grant(lease);
    await this.dispatch(lease, { type: 'collect', results: work.results });
  }

  /** Hands a committed lease to the transport. One that it does not take is nobody's: it is taken back, at no charge. */
  private async dispatch(lease: Lease, work: Bundle['work']): Promise<void> {
    if (lease.stage.plan.stopped !== null) return;
    if (!this.leasing) return this.handBack(lease);
    try {
      await this.ports.transport.dispatch(bundleOf(lease, work));
    } catch (error) {
      if (this.leasing) this.ports.onError(error);
      await this.leases.inTurn(lease, () => this.takeBack(lease));
    }
  }

  private async takeBack(lease: Lease): Promise<void> {
    this.leases.end(lease);
    await this.handBack(lease);
    const { stage, work } = lease;
    if (stage.plan.stopped !== null) return;
    // No worker has seen the attempt: the next lease may have it.
    if (work.type === 'collect') stage.collect_attempts--;
    this.retries.after(offer_again_ms, () => {
      if (work.type === 'collect') this.collectors.wait({ stage, work });
      else for (const ordinal of work.open) stage.board.release(ordinal);
      this.settle(stage);
      this.pump();
    });
  }

  /** A lease that no worker has begun is closed, so that a restart costs its shards nothing. */
  private async handBack(lease: Lease): Promise<void> {
    if (lease.begun) return;
    const { plan_no } = lease.stage.plan;
    await this.ports.store.write((tx) => tx.setBundleState(plan_no, lease.bundle, 'closed', null), 'engine');
  }

  // Acceptance.

  private async accept(lease: Lease, { ordinals, open }: ShardWork, batch: OutcomeBatch): Promise<void> {
    const { store, genesis, truth, clock, artifacts } = this.ports;
    const { stage } = lease;
    const { outcomes, rejections } = await checkBatch(batch.outcomes, ordinals, artifacts);
    const accepted = await store.write((tx) => {
      const audited = auditRejections(tx, stage, rejections, truth);
      const taken = acceptOutcomes(
        tx,
        stage,
        { ...batch, outcomes },
        { genesis, truth, now_ms: clock.now_ms() },
      );
      return { ...taken, events: [...audited, ...taken.events] };
    }, 'engine');
    genesis.announce(accepted.events);
    if (stage.plan.stopped !== null) return;
    for (const { ordinal } of outcomes) open.delete(ordinal);
    stage.sizer.observe(accepted.done.length, sum(outcomes));
    stage.executed += accepted.done.length;
    this.follow(stage, accepted, batch.worker);
    if (batch.final) {
      for (const ordinal of open) stage.board.release(ordinal);
      this.leases.end(lease);
    }
    this.settle(stage);
    this.pump();
  }

  /** Moves the board to where the store is. */
  private follow(stage: LiveStage, accepted: Acceptance, worker: string): void {
    const { board } = stage;
    for (const ordinal of accepted.done) board.done(ordinal);
    if (accepted.done.length > 0) this.disk_full.delete(stage);
    for (const { ordinal, code, charged } of accepted.returned) {
      if (code === disk_full) this.disk_full.set(stage, `room on the disk of ${worker}`);
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
      this.pump();
    });
  }

  /** What a shard that has failed for good means for the others. */
  private applyPolicy({ board, spec, plan }: LiveStage): void {
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
      this.disk_full.delete(each);
      this.scheduler.remove(each);
      waiting.resolve();
    }
  }

  private async collected(lease: Lease, work: CollectWork, batch: OutcomeBatch): Promise<void> {
    const { store, artifacts } = this.ports;
    const { stage, bundle } = lease;
    const outcome = batch.outcomes[0] && (await checkedCollection(batch.outcomes[0], artifacts));
    await store.write(
      (tx) => tx.setBundleState(stage.plan.plan_no, bundle, 'closed', batch.worker),
      'engine',
    );
    this.leases.end(lease);
    this.collectors.ended(stage, work, outcome);
    this.pump();
  }

  // Leases that are lost.

  private expire(): void {
    for (const lease of this.leases.all()) {
      if (!this.leases.expired(lease)) continue;
      // What is dealt with before its turn may be a sign of life.
      const lose = async (): Promise<void> =>
        this.leases.expired(lease) ? this.lose(lease, 'no heartbeat') : undefined;
      this.guard(this.leases.inTurn(lease, lose));
    }
  }

  /** Finds leases that the transport no longer carries, because Redis has lost them, say. */
  private async reconcile(): Promise<void> {
    const asked = [...this.leases.all()].filter((lease) => lease.granted);
    if (asked.length === 0) return;
    const refs = asked.map((lease) => ({ ...refOf(lease), executor: lease.stage.spec.executor }));
    const gone = await this.ports.transport.missing(refs);
    const missing = new Set(gone.map((at) => this.leases.of(at)));
    for (const lease of asked) {
      const twice = lease.missing && missing.has(lease);
      lease.missing = missing.has(lease);
      // What is dealt with before its turn may be a sign of life.
      const lose = async (): Promise<void> =>
        lease.missing ? this.lose(lease, 'its bundle has vanished') : undefined;
      if (twice) this.guard(this.leases.inTurn(lease, lose));
    }
  }

  private async lose(lease: Lease, reason: string): Promise<void> {
    const { store, genesis, clock } = this.ports;
    const { stage, work } = lease;
    this.leases.end(lease);
    if (stage.plan.stopped !== null) return;
    if (!this.leasing) return this.handBack(lease);
    const open = work.type === 'shards' ? [...work.open] : [];
    const now_ms = clock.now_ms();
    const events = await store.write(
      (tx) => acceptLoss(tx, stage, lease, open, reason, { genesis, now_ms }),
      'engine',
    );
    genesis.announce(events);
    if (stage.plan.stopped !== null) return;
    if (work.type === 'collect') this.collectors.ended(stage, work, undefined);
    const gone = open.filter((ordinal) => isLastLoss(stage.board.lossesOf(ordinal)));
    for (const ordinal of gone) stage.board.failed(ordinal);
    for (const ordinal of open) if (stage.board.isUnderWay(ordinal)) stage.board.lose(ordinal);
    if (gone.length > 0) this.applyPolicy(stage);
    this.settle(stage);
    this.pump();
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
    shard_timeout_ms: work.type === 'collect' ? collectTimeout(stage.spec) : stage.spec.shard_timeout_ms,
    work,
  };
}

function sum(outcomes: readonly Outcome[]): number {
  return outcomes.reduce(
    (total, outcome) => total + (outcome.status === 'done' ? outcome.duration_ms : 0),
    0,
  );
}
