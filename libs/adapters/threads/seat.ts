import {
  ordinalsOf,
  pastLimit,
  printOutcomes,
  type Bundle,
  type LeaseRef,
  type Outcome,
  type TransportSink,
} from '#hxo/execute';
import { LaneWatch, type LaneSpan, type RunningShard } from './lane-watch.js';
import type { Member, MemberListener } from './member.js';
import { lane_sequence_max, lanes_max, type FromMember } from './protocol.js';

/** Bundles given to a member whose outcomes are not all committed: bounds its memory when the store is slow. */
const bundles_ahead_max = 4;
/** A second bundle waits at the member only behind bundles that take no longer: elsewhere it might run at once. */
const preload_below_ms = 250;
/** What a worker gets, past a shard's limit, to end the shard by itself. */
const settle_ms = 250;
/** What a cancelled bundle gets to end by itself. */
const cancel_ms = 1_000;
/** What a member gets to set itself up. */
const start_ms = 30_000;
const restart_ms_min = 100;
const restart_ms_max = 5_000;

/** What a seat needs from its pool. */
export interface SeatHost {
  readonly sink: TransportSink;
  /** A member that has had nothing to do for so long is ended. */
  readonly idle_ms: number;
  startMember(listener: MemberListener): Member;
  /** Takes back bundles that no member has begun. */
  takeBack(bundles: readonly Bundle[]): void;
  /** The seat may have room again, or has become empty. */
  changed(): void;
  log(message: string): void;
}

/** Why a seat ends its member. */
type Ending =
  | { readonly why: 'timeout'; readonly held: Held; readonly overdue: readonly RunningShard[] }
  | { readonly why: 'aborted' | 'stopping' | 'halted' | 'idle' };

/** A bundle that the member has, or whose outcomes are being committed. */
interface Held {
  readonly bundle: Bundle;
  readonly ordinals: readonly number[];
  readonly span: LaneSpan;
  readonly reported: Set<number>;
  begun_at: number | undefined;
  cancelled_at: number | undefined;
  /** A shard of it said that the member cannot be trusted. */
  halted: boolean;
  uncommitted: number;
}

/**
 * A place in the pool that is taken by one member at a time, and the watch over it. A member that dies or is ended
 * costs the bundle that it runs; the seat starts another when there is work, after a rest when things go wrong again.
 */
export class Seat {
  #member: Member | undefined;
  #started_at = 0;
  #ready = false;
  #lanes: LaneWatch | undefined;
  #ending: Ending | undefined;
  /** What the member has, in its order: the first runs. */
  #held: Held[] = [];
  readonly #uncommitted = new Set<Held>();
  readonly #commits = new Set<Promise<void>>();
  #next_sequence = 1;
  #last_bundle_ms = Infinity;
  /** Crashes and halts since a bundle went through. */
  #setbacks = 0;
  #broken: string | undefined;
  #rest_timer: NodeJS.Timeout | undefined;
  #idle_timer: NodeJS.Timeout | undefined;
  #kept = false;
  readonly #exit_waiters: (() => void)[] = [];

  constructor(
    readonly name: string,
    private readonly host: SeatHost,
  ) {}

  /** Does it run a bundle? */
  get busy(): boolean {
    return this.#held.length > 0;
  }

  /** What its member has begun and not ended. */
  get running(): readonly Bundle[] {
    return this.#held.filter(({ begun_at }) => begun_at !== undefined).map(({ bundle }) => bundle);
  }

  /** May it take a bundle now? */
  get open(): boolean {
    if (this.#rest_timer !== undefined || this.#ending !== undefined) return false;
    if (this.#uncommitted.size >= bundles_ahead_max) return false;
    return !this.busy || this.#last_bundle_ms < preload_below_ms;
  }

  /**
   * Starts the member before there is work, and lets it stay when there is none. One that dies is not started again before
   * there is: a broken one would spin.
   */
  keepReady(): void {
    this.#kept = true;
    this.#member ??= this.#start();
  }

  /** Has it a bundle of the same stage? */
  hasStageOf({ plan_id, stage }: Bundle): boolean {
    return this.#held.some(({ bundle }) => bundle.plan_id === plan_id && bundle.stage === stage);
  }

  take(bundle: Bundle): void {
    const concurrency = Math.max(1, Math.min(bundle.concurrency, lanes_max));
    clearTimeout(this.#idle_timer);
    const member = (this.#member ??= this.#start());
    const ordinals = ordinalsOf(bundle);
    if (this.#next_sequence > lane_sequence_max - ordinals.length) this.#next_sequence = 1;
    const held: Held = {
      bundle,
      ordinals,
      span: { base: this.#next_sequence, count: ordinals.length, concurrency },
      reported: new Set(),
      begun_at: undefined,
      cancelled_at: undefined,
      halted: false,
      uncommitted: 0,
    };
    this.#next_sequence += ordinals.length;
    this.#held.push(held);
    this.#uncommitted.add(held);
    member.send({ type: 'bundle', bundle: { ...bundle, concurrency }, base: held.span.base });
  }

  /** Tells the member to end what it has of a plan; {@link watch} sees to it that it does. */
  cancel(plan_id: string, now: number): void {
    const cancelled = this.#held.filter(({ bundle }) => bundle.plan_id === plan_id);
    for (const held of cancelled) held.cancelled_at = now;
    if (cancelled.length > 0) this.#member?.send({ type: 'cancel', plan_id });
  }

  /** Lets the member finish the bundle that it runs, and no other. */
  drain(): void {
    this.#member?.send({ type: 'drain' });
  }

  /** Ends the member now. Resolves when it is gone and every outcome is committed. */
  async stop(): Promise<void> {
    clearTimeout(this.#idle_timer);
    clearTimeout(this.#rest_timer);
    if (this.#member !== undefined) {
      const gone = new Promise<void>((resolve) => this.#exit_waiters.push(resolve));
      this.#end({ why: 'stopping' });
      await gone;
    }
    await Promise.all(this.#commits);
  }

  /** Ends a member that does not start, a shard past its limit, a cancelled bundle past its grace. Call it often. */
  watch(now: number): void {
    const [first] = this.#held;
    if (first === undefined || this.#ending !== undefined) return;
    if (!this.#ready && now - this.#started_at > start_ms) {
      this.#broken ??= `it was not ready after ${start_ms} ms`;
      this.#member?.kill();
    } else if (first.cancelled_at !== undefined && now - first.cancelled_at > cancel_ms) {
      this.#end({ why: 'aborted' });
    } else if (first.begun_at !== undefined && first.bundle.shard_timeout_ms > 0) {
      const limit_ms = first.bundle.shard_timeout_ms + settle_ms;
      const overdue = this.#running(first, now).filter(({ ran_ms }) => ran_ms > limit_ms);
      if (overdue.length > 0) this.#end({ why: 'timeout', held: first, overdue });
    }
  }

  /** Says that the seat still has its bundles. */
  heartbeat(): void {
    for (const { bundle } of this.#held) this.host.sink.heartbeat(leaseOf(bundle));
  }

  #start(): Member {
    this.#ready = false;
    this.#broken = undefined;
    this.#started_at = performance.now();
    const member = this.host.startMember({
      message: (message) => this.#message(message),
      exited: (reason) => this.#exited(reason),
    });
    this.#lanes = new LaneWatch(member.lanes);
    return member;
  }

  #end(ending: Ending): void {
    if (this.#ending !== undefined) return;
    this.#ending = ending;
    this.#member?.kill();
  }

  #message(message: FromMember): void {
    const [first] = this.#held;
    if (message.type === 'ready') {
      this.#ready = true;
    } else if (message.type === 'broken') {
      this.#broken = message.reason;
    } else if (message.type === 'log') {
      this.host.log(`${this.name}: ${message.message}`);
    } else if (message.type === 'begun' && first !== undefined) {
      first.begun_at = performance.now();
      this.host.sink.started({ ...leaseOf(first.bundle), worker: this.name });
    } else if (message.type === 'outcomes' && first !== undefined) {
      this.#outcomes(first, message);
    }
    // Anything else an executor has posted over its worker's channel: nothing to the pool.
  }

  #outcomes(
    held: Held,
    { outcomes, ordinals, halted, final }: Extract<FromMember, { type: 'outcomes' }>,
  ): void {
    for (const ordinal of ordinals) held.reported.add(ordinal);
    if (halted) held.halted = true;
    if (final) {
      this.#held.shift();
      if (!held.halted) this.#setbacks = 0;
      this.#last_bundle_ms = held.begun_at === undefined ? Infinity : performance.now() - held.begun_at;
      const [next] = this.#held;
      if (next === undefined && !this.#kept) {
        this.#idle_timer = setTimeout(() => this.#end({ why: 'idle' }), this.host.idle_ms);
      } else if (next?.cancelled_at !== undefined) {
        next.cancelled_at = performance.now();
      }
    }
    this.#commit(held, outcomes, final);
    if (halted) this.#end({ why: 'halted' });
    if (final) this.host.changed();
  }

  #commit(held: Held, outcomes: string, final: boolean): void {
    const { sink } = this.host;
    held.uncommitted++;
    const commit = sink
      .outcomes({ ...leaseOf(held.bundle), worker: this.name, outcomes, final })
      .catch((error: unknown) =>
        sink.lost({ ...leaseOf(held.bundle), reason: `outcomes were refused: ${String(error)}` }),
      )
      .finally(() => {
        held.uncommitted--;
        this.#commits.delete(commit);
        if (held.uncommitted > 0 || this.#held.includes(held)) return;
        this.#uncommitted.delete(held);
        this.host.changed();
      });
    this.#commits.add(commit);
  }

  #exited(reason: string): void {
    const ending = this.#ending;
    const held = this.#held;
    clearTimeout(this.#idle_timer);
    this.#member = undefined;
    this.#ending = undefined;
    this.#held = [];
    if (ending === undefined) this.host.log(`${this.name}: ${this.#broken ?? reason}`);
    if (ending === undefined || ending.why === 'halted') this.#rest();
    const back: Bundle[] = [];
    for (const each of held) {
      const loss = this.#lossOf(each, ending, reason);
      if (loss !== undefined) {
        this.host.sink.lost({ ...leaseOf(each.bundle), reason: loss });
        if (each.uncommitted === 0) this.#uncommitted.delete(each);
      } else if (each.begun_at === undefined) {
        back.push(each.bundle);
        this.#uncommitted.delete(each);
      } else {
        const overdue = ending?.why === 'timeout' && ending.held === each ? ending.overdue : [];
        this.#commit(each, printOutcomes(timeouts(each, overdue)), true);
      }
    }
    this.host.takeBack(back);
    for (const resolve of this.#exit_waiters.splice(0)) resolve();
    this.host.changed();
  }

  /** Why the bundle is lost with its member; undefined when it is not, because the pool itself ended the member. */
  #lossOf(held: Held, ending: Ending | undefined, reason: string): string | undefined {
    if (ending?.why === 'stopping') return 'stopping';
    if (held.cancelled_at !== undefined) return 'aborted';
    if (ending !== undefined) return undefined;
    if (!this.#ready) return `${this.name} could not start: ${this.#broken ?? reason}`;
    if (held.begun_at === undefined) return undefined;
    const culprits = this.#running(held, performance.now())
      .map(({ index }) => held.ordinals[index]!)
      .filter((ordinal) => !held.reported.has(ordinal));
    const during = culprits.length > 0 ? ` while it ran shard ${culprits.slice(0, 10).join(', ')}` : '';
    const uncaught = this.#broken === undefined ? '' : `: ${this.#broken}`;
    return `${this.name}: ${reason}${uncaught}${during}`;
  }

  /** After a crash or a halt the seat rests, longer each time until a bundle goes through: neither crashes nor a full disk spin. */
  #rest(): void {
    const rest_ms =
      this.#setbacks === 0 ? 0 : Math.min(restart_ms_max, restart_ms_min * 2 ** (this.#setbacks - 1));
    this.#setbacks++;
    this.#rest_timer = setTimeout(() => {
      this.#rest_timer = undefined;
      this.host.changed();
    }, rest_ms);
  }

  #running(held: Held, now: number): RunningShard[] {
    return this.#lanes?.running(held.span, now) ?? [];
  }
}

function timeouts({ bundle, ordinals, reported }: Held, overdue: readonly RunningShard[]): Outcome[] {
  return overdue
    .map(({ index, ran_ms }) => ({ ordinal: ordinals[index]!, ran_ms }))
    .filter(({ ordinal }) => !reported.has(ordinal))
    .map(({ ordinal, ran_ms }) => pastLimit(bundle, ordinal, Math.round(ran_ms), true));
}

function leaseOf({ plan_id, bundle, attempt }: Bundle): LeaseRef {
  return { plan_id, bundle, attempt };
}
