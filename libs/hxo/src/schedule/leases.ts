import type { Digest } from '#truth';
import type { LeaseRef, OutcomeBatch, WorkerNeeds } from '../execute/transport.js';
import type { LivePlan, LiveStage } from '../plan/live-plan.js';

/** A worker that has not been heard of for so long has lost its lease. */
export const lease_ms = 30_000;

/** Shards of a lease; `open` are those that are not reported yet. */
export interface ShardWork {
  readonly type: 'shards';
  readonly ordinals: ReadonlySet<number>;
  readonly open: Set<number>;
}

/** The collector of a stage, over the artifact of its gathered results. */
export interface CollectWork {
  readonly type: 'collect';
  readonly results: Digest;
  /** Executor errors so far. */
  readonly failures: number;
}

export interface Lease {
  readonly stage: LiveStage;
  readonly bundle: number;
  readonly attempt: number;
  readonly work: ShardWork | CollectWork;
  /** Shards that it executes at once, of HXO_MAX_CONCURRENCY. */
  readonly concurrency: number;
  /** Is it committed? Its term begins then: before that nobody has it who could be late or lose it. */
  granted: boolean;
  /** Monotonic milliseconds. */
  deadline_ms: number;
  /** Has a worker said that it works on it? */
  begun: boolean;
  /** Was it missing when the transport was last asked? */
  missing: boolean;
  /** What is heard of a lease is dealt with one after the other. */
  turn: Promise<void>;
  /** What its worker has reported and is not committed yet, in the order in which it came. */
  readonly reported: OutcomeBatch[];
}

/** The leases that are open, in the leader's memory: deadlines are on its monotonic clock, and die with it. */
export class Leases {
  private readonly open_leases = new Map<string, Lease>();
  private readonly by_executor = new Map<string, number>();
  private readonly by_stage = new Map<LiveStage, number>();
  private executing = 0;

  constructor(private readonly monotonic_ms: () => number) {}

  open(lease: Pick<Lease, 'stage' | 'bundle' | 'attempt' | 'work' | 'concurrency'>): Lease {
    const fresh = { granted: false, deadline_ms: Infinity, begun: false, missing: false };
    const opened = { ...lease, ...fresh, turn: Promise.resolve(), reported: [] };
    this.open_leases.set(keyOf(refOf(opened)), opened);
    this.tally(opened, 1);
    return opened;
  }

  /** The lease is committed. */
  grant(lease: Lease): void {
    lease.granted = true;
    this.renew(lease);
  }

  end(lease: Lease): void {
    if (this.open_leases.delete(keyOf(refOf(lease)))) this.tally(lease, -1);
  }

  /** The lease that a worker speaks of, if it is not over. */
  of(at: LeaseRef): Lease | undefined {
    const lease = this.open_leases.get(keyOf(at));
    return lease?.attempt === at.attempt ? lease : undefined;
  }

  ofPlan(plan: LivePlan): Lease[] {
    return [...this.open_leases.values()].filter((lease) => lease.stage.plan === plan);
  }

  all(): IterableIterator<Lease> {
    return this.open_leases.values();
  }

  /** Bundles of an executor that are in flight. */
  inFlight(executor: string): number {
    return this.by_executor.get(executor) ?? 0;
  }

  /** Bundles of a stage that are in flight. */
  inFlightOf(stage: LiveStage): number {
    return this.by_stage.get(stage) ?? 0;
  }

  /** Shards and collectors that the open leases may execute at once. */
  executingMax(): number {
    return this.executing;
  }

  /** A sign of life. */
  renew(lease: Lease): void {
    lease.deadline_ms = this.monotonic_ms() + lease_ms;
    lease.missing = false;
  }

  expired(lease: Lease): boolean {
    return lease.deadline_ms < this.monotonic_ms();
  }

  /** Acts on a lease once everything heard of it earlier is dealt with, unless that has ended it or its plan. */
  inTurn(lease: Lease, act: () => Promise<void>): Promise<void> {
    // An error of an earlier turn was told to whoever awaited it.
    lease.turn = lease.turn
      .catch(() => {})
      .then(() => {
        const over = this.of(refOf(lease)) === undefined;
        return over || lease.stage.plan.stopped !== null ? undefined : act();
      });
    return lease.turn;
  }

  private tally({ stage, concurrency }: Lease, sign: 1 | -1): void {
    this.executing += sign * concurrency;
    this.by_executor.set(stage.spec.executor, this.inFlight(stage.spec.executor) + sign);
    const of_stage = this.inFlightOf(stage) + sign;
    if (of_stage === 0) this.by_stage.delete(stage);
    else this.by_stage.set(stage, of_stage);
  }
}

function refOf(lease: Lease): LeaseRef {
  return { plan_id: lease.stage.plan_id, bundle: lease.bundle, attempt: lease.attempt };
}

/** What a transport is told of a lease that it carries. */
export function askedOf(lease: Lease): LeaseRef & WorkerNeeds {
  return { ...refOf(lease), ...lease.stage.needs };
}

function keyOf(at: { readonly plan_id: string; readonly bundle: number }): string {
  return `${at.plan_id}/${at.bundle}`;
}
