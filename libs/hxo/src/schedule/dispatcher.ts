import { ShardLinesReader } from '../checkpoint/shard-lines-reader.js';
import type { BundleRow } from '../checkpoint/checkpoint-store.js';
import type { AcceptancePorts, ExecutingStages } from '../execute/executing-stages.js';
import type { Bundle, Transport } from '../execute/transport.js';
import { PlanStopped, type LivePlan, type LiveStage } from '../plan/live-plan.js';
import { isTerminal } from '../plan/phases.js';
import { collectTimeout, type Collectors, type WaitingCollector } from './collectors.js';
import type { Lease, Leases, ShardWork } from './leases.js';
import type { RetryQueue } from './retry-queue.js';

/** Wait before bundles that the transport did not take are offered again. */
const offer_again_ms = 1_000;

export interface DispatchPorts extends Pick<AcceptancePorts, 'store' | 'genesis' | 'clock'> {
  readonly transport: Transport;
  /** HXO_MAX_CONCURRENCY: shards executing at once, over all plans. */
  readonly max_concurrency: number;
  /** Told of errors that no caller awaits. */
  readonly onError: (error: unknown) => void;
}

/** Leases the shards and collectors that wait, and hands them to the transport: a bounded window of bundles in flight. */
export class Dispatcher {
  private readonly lines: ShardLinesReader;
  private leasing = false;
  /** Leases that are being given. */
  private readonly giving = new Set<Promise<void>>();

  constructor(
    private readonly ports: DispatchPorts,
    private readonly leases: Leases,
    private readonly executing: ExecutingStages,
    private readonly collectors: Collectors,
    private readonly retries: RetryQueue,
  ) {
    this.lines = new ShardLinesReader(ports.store);
  }

  /** False before {@link start} and once it is stopped: nothing is leased then. */
  get running(): boolean {
    return this.leasing;
  }

  start(): void {
    this.leasing = true;
    this.pump();
  }

  /** Gives no more leases. Resolves when those that were being given are given, or taken back. */
  async stop(): Promise<void> {
    this.leasing = false;
    await Promise.all(this.giving);
  }

  /**
   * Fills the window: for each executor one bundle for each slot and some ahead, so that no worker idles between two, as
   * long as the shards and collectors that may be executing stay within HXO_MAX_CONCURRENCY.
   */
  pump(): void {
    while (this.leasing && this.leases.executingMax() < this.ports.max_concurrency) {
      const collector = this.collectors.next(this.hasRoom);
      const stage = collector === null ? this.executing.next(this.hasRoom) : null;
      if (collector !== null) this.give(collector.stage, this.leaseCollector(collector));
      else if (stage !== null) this.give(stage, this.lease(stage));
      else return;
    }
  }

  private readonly hasRoom = (stage: LiveStage): boolean => {
    const slots = this.slots(stage);
    // However many bundles of fast stages are in flight, a slower one beside them always has one.
    const window = this.leases.inFlightOf(stage) === 0 ? Infinity : this.ahead(stage) * slots;
    return slots > 0 && this.leases.inFlight(stage.spec.executor) < window;
  };

  /** Bundles in flight for each slot. Where they go one by one, none waits behind one that may take longer than a worker waits. */
  private ahead(stage: LiveStage): number {
    return stage.one_by_one && !stage.sizer.soonOver() ? 1 : stage.sizer.ahead();
  }

  /** Bundles of a stage that may be executed at once. */
  private slots(stage: LiveStage): number {
    const slots = this.ports.transport.slots(stage.needs);
    return stage.one_by_one ? Math.min(1, slots) : slots;
  }

  /** An `io` bundle executes as many shards together as its slot has lanes, within HXO_MAX_CONCURRENCY. */
  private concurrency({ executor, needs }: LiveStage, shards: number): number {
    if (executor.load === 'cpu') return 1;
    const { max_concurrency, transport } = this.ports;
    return Math.min(shards, transport.lanes(needs), max_concurrency - this.leases.executingMax());
  }

  private async lease(stage: LiveStage): Promise<void> {
    const { store, genesis, clock } = this.ports;
    const { plan, stage_no, spec, board } = stage;
    const claim = board.claim(
      stage.sizer.next(board.waiting(), stage.one_by_one ? 1 : 2 * this.slots(stage)),
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
    }, 'shards');
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
      await this.ports.transport.dispatch(bundleOf(lease, work));
    } catch (error) {
      if (this.leasing) this.ports.onError(error);
      await this.leases.inTurn(lease, () => this.takeBack(lease));
    }
  }

  /** Ends a lease of which nothing was executed, at no charge; what it holds is offered again after a while. */
  takeBack(lease: Lease): Promise<void> {
    return this.orFail(lease.stage, this.offerAgain(lease));
  }

  private async offerAgain(lease: Lease): Promise<void> {
    this.leases.end(lease);
    await this.close(lease);
    const { stage, work } = lease;
    if (stage.plan.stopped !== null) return;
    // No worker has begun the attempt: the next lease may have it.
    if (work.type === 'collect') stage.collect_attempts--;
    this.retries.after(offer_again_ms, () => {
      if (work.type === 'collect') this.collectors.wait({ stage, work });
      else this.executing.release(stage, work.open);
      this.pump();
    });
  }

  /** A lease that no worker has begun is closed, so that a restart costs its shards nothing. */
  async handBack(lease: Lease): Promise<void> {
    if (!lease.begun) await this.close(lease);
  }

  private async close({ stage, bundle }: Lease): Promise<void> {
    await this.ports.store.write(
      (tx) => tx.setBundleState(stage.plan.plan_no, bundle, 'closed', null),
      'engine',
    );
  }

  /** Opens a lease anew that was given before, and is committed, for its shards that are still open. */
  takeUp(plan: LivePlan, { stage_no, bundle, attempt, ordinals }: BundleRow, open: Set<number>): Lease {
    const stage = plan.stages[stage_no]!;
    const work: ShardWork = { type: 'shards', ordinals: new Set(ordinals), open };
    const concurrency = Math.max(1, this.concurrency(stage, ordinals.length));
    const lease = this.leases.open({ stage, bundle, attempt, work, concurrency });
    this.leases.grant(lease);
    return lease;
  }

  /** Keeps a lease that is being given, for {@link stop}. */
  private give(stage: LiveStage, work: Promise<void>): void {
    const giving = this.orFail(stage, work).finally(() => this.giving.delete(giving));
    this.giving.add(giving);
  }

  /**
   * For work that would leave what a stage has leased with nobody if it failed: claimed, and found by no watch. The store
   * waits out what the machine is to blame for; any other error is a programmer's mistake or the end of the store, and
   * ends the plan, which ends its leases.
   */
  async orFail(stage: LiveStage, work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      const heard = this.executing.fail(stage, error) || this.collectors.fail(stage, error);
      if (!heard) this.ports.onError(error);
    }
  }
}

function bundleOf(lease: Lease, work: Bundle['work']): Bundle {
  const { stage } = lease;
  return {
    plan_id: stage.plan_id,
    bundle: lease.bundle,
    attempt: lease.attempt,
    stage: stage.spec.id,
    ...stage.needs,
    isolation: stage.executor.isolation,
    concurrency: lease.concurrency,
    one_by_one: stage.one_by_one,
    shard_timeout_ms: work.type === 'collect' ? collectTimeout(stage.spec) : stage.spec.shard_timeout_ms,
    work,
  };
}
