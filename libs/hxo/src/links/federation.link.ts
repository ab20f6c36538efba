import type { Digest } from '#truth';
import type { BundleRow } from '../checkpoint/checkpoint-store.js';
import { ShardLinesReader } from '../checkpoint/shard-lines-reader.js';
import type { TakenReports } from '../execute/accept-outcomes.js';
import { checkedCollection } from '../execute/check-outcome.js';
import type { StageOutput } from '../execute/contract.js';
import { ExecutingStages, type AcceptancePorts } from '../execute/executing-stages.js';
import type { Bundle, LeaseRef, OutcomeBatch, Transport, TransportSink } from '../execute/transport.js';
import type { StageSpec } from '../plan/plan-spec.js';
import { PlanStopped, type LivePlan, type LiveStage } from '../plan/live-plan.js';
import { isTerminal } from '../plan/phases.js';
import { Collectors, collectTimeout, type WaitingCollector } from '../schedule/collectors.js';
import { Leases, type CollectWork, type Lease, type ShardWork } from '../schedule/leases.js';
import { LeaseWatch } from '../schedule/lease-watch.js';
import { RetryQueue } from '../schedule/retry-queue.js';

/** Wait before bundles that the transport did not take are offered again. */
const offer_again_ms = 1_000;

export interface FederationPorts extends AcceptancePorts {
  readonly transport: Transport;
  /** HXO_MAX_CONCURRENCY: shards executing at once, over all plans. */
  readonly max_concurrency: number;
  /** Would a stage's shards only wait for each other? See Partitioner. */
  readonly oneByOne: (stage: StageSpec) => boolean;
  /** Told of errors that no caller awaits. */
  readonly onError: (error: unknown) => void;
}

/**
 * Leases shards and collectors to workers, and hears what becomes of the leases. Holds a bounded window of bundles in
 * flight; everything that it keeps in memory can be rebuilt from the checkpoint store.
 */
export class FederationLink implements TransportSink {
  private readonly leases: Leases;
  private readonly executing: ExecutingStages;
  private readonly collectors: Collectors;
  private readonly lines: ShardLinesReader;
  private readonly retries: RetryQueue;
  private readonly watch: LeaseWatch;
  private readonly one_by_one = new WeakMap<LiveStage, boolean>();
  private leasing = false;

  constructor(private readonly ports: FederationPorts) {
    this.leases = new Leases(() => ports.clock.monotonic_ms());
    this.watch = new LeaseWatch(
      this.leases,
      ports.transport,
      (lease, reason) => this.lose(lease, reason),
      (work) => this.guard(work),
    );
    this.lines = new ShardLinesReader(ports.store);
    this.retries = new RetryQueue(() => ports.clock.monotonic_ms());
    this.executing = new ExecutingStages(ports, this.retries, () => this.pump());
    this.collectors = new Collectors(this.retries, ports.random, () => this.pump());
  }

  /** Do bundles outlive this process? */
  get durable(): boolean {
    return this.ports.transport.durable;
  }

  async start(): Promise<void> {
    await this.ports.transport.start(this);
    this.leasing = true;
    this.watch.start();
    this.pump();
  }

  /** Leases nothing more, waits for what runs, at most `grace_ms`, and stops the workers of this process. */
  async drain(grace_ms: number): Promise<void> {
    this.leasing = false;
    this.retries.stop();
    this.watch.stop();
    await this.ports.transport.stop(grace_ms);
  }

  /** Executes a stage's shards. Resolves when each is done, failed or skipped; rejects when the plan is stopped. */
  execute(stage: LiveStage): Promise<void> {
    if (stage.plan.stopped !== null) return Promise.reject(stage.plan.stopped);
    return this.executing.execute(stage);
  }

  /** Runs a stage's collector over its gathered results, leased and fenced like a shard. Rejects when it fails for good. */
  collect(stage: LiveStage, results: Digest): Promise<StageOutput> {
    if (stage.plan.stopped !== null) return Promise.reject(stage.plan.stopped);
    return this.collectors.collect(stage, results);
  }

  /** Gives up everything of a plan that was stopped: its leases, its waiting work, its workers. */
  drop(plan: LivePlan): void {
    this.executing.drop(plan);
    this.collectors.drop(plan);
    for (const lease of this.leases.ofPlan(plan)) this.leases.end(lease);
    // With Redis away it takes until that is back; nobody needs to wait for it.
    this.guard(this.ports.transport.cancel(plan.plan_id));
    this.pump();
  }

  /**
   * Takes up leases that an earlier process gave, for a transport whose bundles outlive it: each gets one fresh term. To be
   * called before {@link start}, so that no report of theirs comes too early.
   */
  resume(plan: LivePlan, bundles: readonly BundleRow[]): void {
    for (const row of bundles) {
      const { board } = plan.stages[row.stage_no]!;
      const open = new Set(row.ordinals.filter((ordinal) => board.reclaim(ordinal, row.attempt)));
      // It cannot be on its way from here: found missing once, it is lost.
      this.takeUp(plan, row, open).missing = true;
    }
  }

  /** What keeps a plan's shards from being executed, in words; null when nothing does. */
  obstacle(plan: LivePlan): string | null {
    for (const stage of plan.stages) {
      if (!this.executing.has(stage)) continue;
      const { board, spec, executor_version } = stage;
      const obstacle =
        board.waiting() > 0 ? this.ports.transport.obstacle(spec.executor, executor_version) : null;
      const waits_for = obstacle ?? this.executing.waitsForRoom(stage);
      if (waits_for !== null) return waits_for;
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
    const lease = this.leases.of(batch) ?? this.late(batch);
    // A lease that is over: its shards are done, or somebody else's. What it reports comes too late.
    if (lease === undefined) return;
    this.leases.renew(lease);
    lease.reported.push(batch);
    await this.leases.inTurn(lease, () => this.takeReported(lease));
  }

  /**
   * Takes all that a lease has reported by now, together: shards that report one by one, faster than commits follow each
   * other, would otherwise wait in a queue of commits. An earlier turn may have left nothing.
   */
  private async takeReported(lease: Lease): Promise<void> {
    const { work } = lease;
    const batches = lease.reported.splice(0);
    const last = batches.at(-1);
    if (last === undefined) return;
    const reports = batches.map((batch) => batch.outcomes);
    const taken = { ...last, reports, final: batches.some(({ final }) => final) };
    try {
      await (work.type === 'shards' ? this.accept(lease, work, taken) : this.collected(lease, work, taken));
    } catch (error) {
      // Only this turn's caller hears of it: the next turn must not take the others for accepted.
      lease.reported.unshift(...batches);
      throw error;
    }
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
   * Fills the window: for each executor one bundle for each slot and some ahead, so that no worker idles between two, as
   * long as the shards and collectors that may be executing stay within HXO_MAX_CONCURRENCY.
   */
  private pump(): void {
    const hasRoom = (stage: LiveStage): boolean => {
      const { spec } = stage;
      const slots = this.slots(stage);
      // However many bundles of fast stages are in flight, a slower one beside them always has one.
      const window = this.leases.inFlightOf(stage) === 0 ? Infinity : this.ahead(stage) * slots;
      return slots > 0 && this.leases.inFlight(spec.executor) < window;
    };
    while (this.leasing && this.leases.executingMax() < this.ports.max_concurrency) {
      const collector = this.collectors.next(hasRoom);
      const stage = collector === null ? this.executing.next(hasRoom) : null;
      if (collector !== null) this.guard(this.leaseCollector(collector));
      else if (stage !== null) this.guard(this.lease(stage));
      else return;
    }
  }

  /** Bundles in flight for each slot. Where they go one by one, none waits behind one that may take longer than a worker waits. */
  private ahead(stage: LiveStage): number {
    return this.oneByOne(stage) && !stage.sizer.soonOver() ? 1 : stage.sizer.ahead();
  }

  /** Bundles of a stage that may be executed at once. */
  private slots(stage: LiveStage): number {
    const slots = this.ports.transport.slots(stage.spec.executor);
    return this.oneByOne(stage) ? Math.min(1, slots) : slots;
  }

  private oneByOne(stage: LiveStage): boolean {
    let known = this.one_by_one.get(stage);
    if (known === undefined) this.one_by_one.set(stage, (known = this.ports.oneByOne(stage.spec)));
    return known;
  }

  /** An `io` bundle executes as many shards together as its slot has lanes, within HXO_MAX_CONCURRENCY. */
  private concurrency({ executor }: LiveStage, shards: number): number {
    if (executor.load === 'cpu') return 1;
    const { max_concurrency, transport } = this.ports;
    return Math.min(shards, transport.lanes(executor.name), max_concurrency - this.leases.executingMax());
  }

  private async lease(stage: LiveStage): Promise<void> {
    const { store, genesis, clock } = this.ports;
    const { plan, stage_no, spec, board } = stage;
    const claim = board.claim(
      stage.sizer.next(board.waiting(), this.oneByOne(stage) ? 1 : 2 * this.slots(stage)),
    );
    if (claim === null) return;
    const { ordinals, attempt } = claim;
    const lines = this.readLines(stage, ordinals);
    if (lines === null) return;
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
    await this.dispatch(lease, { type: 'shards', ordinals, lines });
  }

  /** The definitions of shards; null when the store has lost them, which ends the plan. */
  private readLines(stage: LiveStage, ordinals: readonly number[]): string | null {
    try {
      return this.lines.read(stage.plan.plan_no, stage.stage_no, ordinals);
    } catch (error) {
      const detail = `Stage ${stage.spec.id}: ${(error as Error).message}`;
      this.executing.fail(stage, new PlanStopped('failed', 'STORE_DAMAGED', detail));
      return null;
    }
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
      await this.ports.transport.dispatch(bundleOf(lease, work, this.oneByOne(lease.stage)));
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
      else this.executing.release(stage, work.open);
      this.pump();
    });
  }

  /** A lease that no worker has begun is closed, so that a restart costs its shards nothing. */
  private async handBack(lease: Lease): Promise<void> {
    if (lease.begun) return;
    const { plan_no } = lease.stage.plan;
    await this.ports.store.write((tx) => tx.setBundleState(plan_no, lease.bundle, 'closed', null), 'engine');
  }

  // What leases end with.

  private async accept(lease: Lease, work: ShardWork, taken: TakenReports): Promise<void> {
    await this.executing.accept(lease, work, taken);
    if (taken.final) this.leases.end(lease);
    this.pump();
  }

  private async collected(lease: Lease, work: CollectWork, taken: TakenReports): Promise<void> {
    const { store, artifacts } = this.ports;
    const { stage, bundle } = lease;
    const outcome = await checkedCollection(taken.reports, artifacts);
    await store.write(
      (tx) => tx.setBundleState(stage.plan.plan_no, bundle, 'closed', taken.worker),
      'engine',
    );
    this.leases.end(lease);
    this.collectors.ended(stage, work, outcome);
    this.pump();
  }

  // Leases that are lost, and those that are found again.

  private takeUp(
    plan: LivePlan,
    { stage_no, bundle, attempt, ordinals }: BundleRow,
    open: Set<number>,
  ): Lease {
    const stage = plan.stages[stage_no]!;
    const work: ShardWork = { type: 'shards', ordinals: new Set(ordinals), open };
    const concurrency = Math.max(1, this.concurrency(stage, ordinals.length));
    const lease = this.leases.open({ stage, bundle, attempt, work, concurrency });
    this.leases.grant(lease);
    return lease;
  }

  /** A lease that was lost is taken up again when its worker reports after all, for the shards whose last lease it still is. */
  private late(at: LeaseRef): Lease | undefined {
    const plan = this.executing.plan(at.plan_id);
    const row = plan === undefined ? null : this.ports.store.bundle(plan.plan_no, at.bundle);
    if (plan === undefined || row?.state !== 'lost' || row.attempt !== at.attempt) return undefined;
    const { board } = plan.stages[row.stage_no]!;
    const free = row.ordinals.filter((ordinal) => board.reclaim(ordinal, row.attempt));
    return free.length === 0 ? undefined : this.takeUp(plan, row, new Set(free));
  }

  private async lose(lease: Lease, reason: string): Promise<void> {
    const { store } = this.ports;
    const { stage, bundle, work } = lease;
    this.leases.end(lease);
    if (stage.plan.stopped !== null) return;
    if (!this.leasing) return this.handBack(lease);
    if (work.type === 'shards') await this.executing.lose(lease, work, reason);
    else {
      await store.write((tx) => tx.setBundleState(stage.plan.plan_no, bundle, 'lost', null), 'engine');
      this.collectors.ended(stage, work, undefined);
    }
    this.pump();
  }

  /** For work that nobody awaits: an error there is a programmer's mistake, or the end of the store. */
  private guard(work: Promise<void>): void {
    work.catch((error: unknown) => this.ports.onError(error));
  }
}

function bundleOf(lease: Lease, work: Bundle['work'], one_by_one: boolean): Bundle {
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
    one_by_one,
    shard_timeout_ms: work.type === 'collect' ? collectTimeout(stage.spec) : stage.spec.shard_timeout_ms,
    work,
  };
}
