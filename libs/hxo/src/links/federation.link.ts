import { setTimeout as sleep } from 'node:timers/promises';
import type { Digest } from '#truth';
import type { BundleRow } from '../checkpoint/checkpoint-store.js';
import type { TakenReports } from '../execute/accept-outcomes.js';
import { checkedCollection } from '../execute/check-outcome.js';
import { compareLate } from '../execute/compare-late.js';
import type { StageOutput } from '../execute/contract.js';
import { ExecutingStages, type AcceptancePorts } from '../execute/executing-stages.js';
import type { LeaseRef, OutcomeBatch, TransportSink } from '../execute/transport.js';
import type { LivePlan, LiveStage } from '../plan/live-plan.js';
import { Collectors } from '../schedule/collectors.js';
import { Dispatcher, type DispatchPorts } from '../schedule/dispatcher.js';
import { askedOf, Leases, type CollectWork, type Lease, type ShardWork } from '../schedule/leases.js';
import { LeaseWatch } from '../schedule/lease-watch.js';
import { RetryQueue } from '../schedule/retry-queue.js';

/** How long leases that are being given may take to be committed, or taken back, once workers are stopped. */
const giving_max_ms = 1_000;

export type FederationPorts = AcceptancePorts & DispatchPorts;

/**
 * Leases shards and collectors to workers, and hears what becomes of the leases. Holds a bounded window of bundles in
 * flight; everything that it keeps in memory can be rebuilt from the checkpoint store.
 */
export class FederationLink implements TransportSink {
  private readonly leases: Leases;
  private readonly executing: ExecutingStages;
  private readonly collectors: Collectors;
  private readonly retries: RetryQueue;
  private readonly watch: LeaseWatch;
  private readonly dispatcher: Dispatcher;

  constructor(private readonly ports: FederationPorts) {
    this.leases = new Leases(() => ports.clock.monotonic_ms());
    this.watch = new LeaseWatch(
      this.leases,
      ports.transport,
      (lease, reason) => this.lose(lease, reason),
      (work) => this.guard(work),
    );
    this.retries = new RetryQueue(() => ports.clock.monotonic_ms());
    this.executing = new ExecutingStages(ports, this.retries, () => this.dispatcher.pump());
    this.collectors = new Collectors(this.retries, ports.random, () => this.dispatcher.pump());
    this.dispatcher = new Dispatcher(ports, this.leases, this.executing, this.collectors, this.retries);
  }

  /** Do bundles outlive this process? */
  get durable(): boolean {
    return this.ports.transport.durable;
  }

  async start(): Promise<void> {
    await this.ports.transport.start(this);
    this.watch.start();
    this.dispatcher.start();
  }

  /** Leases nothing more, waits for what runs, at most `grace_ms`, and stops the workers of this process. */
  async drain(grace_ms: number): Promise<void> {
    const given = this.dispatcher.stop();
    this.retries.stop();
    this.watch.stop();
    await this.ports.transport.stop(grace_ms);
    // With the store away it takes until that is back.
    await Promise.race([given, sleep(giving_max_ms, undefined, { ref: false })]);
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
    const leases = this.leases.ofPlan(plan);
    for (const lease of leases) this.leases.end(lease);
    // With Redis away it takes until that is back; nobody needs to wait for it.
    this.guard(this.ports.transport.cancel(plan.plan_id, leases.map(askedOf)));
    this.dispatcher.pump();
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
      this.dispatcher.takeUp(plan, row, open).missing = true;
    }
  }

  /** What keeps a plan's shards from being executed, in words; null when nothing does. */
  obstacle(plan: LivePlan): string | null {
    for (const stage of plan.stages) {
      if (!this.executing.has(stage) && stage.phase !== 'collecting') continue;
      // What is leased may wait no less: the workers that it went to may be gone.
      const obstacle = this.ports.transport.obstacle(stage.needs);
      const waits_for = obstacle ?? this.executing.waitsFor(stage);
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
    const lease = this.leases.of(batch);
    await (lease === undefined ? this.late(batch) : this.take(lease, batch));
  }

  private async take(lease: Lease, batch: OutcomeBatch): Promise<void> {
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
    const batches = [...lease.reported];
    const last = batches.at(-1);
    if (last === undefined) return;
    const reports = batches.map((batch) => batch.outcomes);
    const taken = { ...last, reports, final: batches.some(({ final }) => final) };
    // They stay reported until they are committed. Only this turn's caller hears of an error: the next turn must not take
    // the others for accepted.
    await (work.type === 'shards' ? this.accept(lease, work, taken) : this.collected(lease, work, taken));
  }

  refused(at: LeaseRef & { readonly reason: string }): void {
    const lease = this.leases.of(at);
    if (lease === undefined) return;
    const act = async (): Promise<void> => {
      this.executing.setWaits(lease.stage, `a worker that takes its bundles: ${at.reason}`);
      await this.dispatcher.takeBack(lease);
      this.dispatcher.pump();
    };
    this.guard(this.leases.inTurn(lease, act));
  }

  lost(at: LeaseRef & { readonly reason: string }): void {
    const lease = this.leases.of(at);
    if (lease !== undefined) this.guard(this.leases.inTurn(lease, () => this.lose(lease, at.reason)));
  }

  changed(): void {
    this.dispatcher.pump();
  }

  // What leases end with.

  private async accept(lease: Lease, work: ShardWork, taken: TakenReports): Promise<void> {
    await this.executing.accept(lease, work, taken);
    if (taken.final) this.leases.end(lease);
    this.dispatcher.pump();
  }

  private async collected(lease: Lease, work: CollectWork, taken: TakenReports): Promise<void> {
    const { store, artifacts } = this.ports;
    const { stage, bundle } = lease;
    const outcome = await checkedCollection(taken.reports, artifacts);
    await store.write(
      (tx) => tx.setBundleState(stage.plan.plan_no, bundle, 'closed', taken.worker),
      'engine',
    );
    lease.reported.splice(0, taken.reports.length);
    this.leases.end(lease);
    this.collectors.ended(stage, work, outcome);
    this.dispatcher.pump();
  }

  // Leases that are lost, and those that are found again.

  /** What is reported of a lease that is over counts if the lease can be taken up again, else is compared with what stands. */
  private async late(batch: OutcomeBatch): Promise<void> {
    const plan = this.executing.plan(batch.plan_id) ?? this.collectors.plan(batch.plan_id);
    const row = plan === undefined ? null : this.ports.store.bundle(plan.plan_no, batch.bundle);
    if (plan === undefined || row?.attempt !== batch.attempt) return;
    const again = row.state === 'lost' ? this.takeUpAgain(plan, row) : undefined;
    if (again !== undefined) await this.take(again, batch);
    else await compareLate(plan.stages[row.stage_no]!, row.ordinals, batch.outcomes, this.ports);
  }

  /** A lease that was lost is taken up again when its worker reports after all, for the shards whose last lease it still is. */
  private takeUpAgain(plan: LivePlan, row: BundleRow): Lease | undefined {
    const { board } = plan.stages[row.stage_no]!;
    const free = row.ordinals.filter((ordinal) => board.reclaim(ordinal, row.attempt));
    return free.length === 0 ? undefined : this.dispatcher.takeUp(plan, row, new Set(free));
  }

  private lose(lease: Lease, reason: string): Promise<void> {
    return this.dispatcher.orFail(lease.stage, this.giveUp(lease, reason));
  }

  private async giveUp(lease: Lease, reason: string): Promise<void> {
    const { store } = this.ports;
    const { stage, bundle, work } = lease;
    this.leases.end(lease);
    if (stage.plan.stopped !== null) return;
    if (!this.dispatcher.running) return this.dispatcher.handBack(lease);
    if (work.type === 'shards') await this.executing.lose(lease, work, reason);
    else {
      await store.write((tx) => tx.setBundleState(stage.plan.plan_no, bundle, 'lost', null), 'engine');
      this.collectors.ended(stage, work, undefined);
    }
    this.dispatcher.pump();
  }

  /** For work that nobody awaits: an error there is a programmer's mistake, or the end of the store. */
  private guard(work: Promise<void>): void {
    work.catch((error: unknown) => this.ports.onError(error));
  }
}
