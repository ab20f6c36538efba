import type { Bundle, LeaseRef, Transport, TransportSink } from '#hxo/execute';
import { startProcess, startThread, type MemberOptions } from './member.js';
import { Seat, type SeatHost } from './seat.js';

const watch_ms = 50;
const heartbeat_ms = 10_000;
/** All of the program's environment that a member sees: enough to run, and the databases that executors work on. */
const member_variables = /^(PATH|NODE_.*|TZ|LANG|HXO_TARGET_.*)$/;

export interface ThreadTransportOptions {
  /** The script that each thread and process runs: it calls `serveMember`. */
  readonly member: URL;
  /** Passed to the script; anything that structured clone takes. */
  readonly member_options: unknown;
  /** Bundles executed at once, threads and processes together. */
  readonly workers: number;
  /** Shards that one bundle may execute at once, when its executor only waits. */
  readonly lanes: number;
  /** The program's environment; members get only what they need of it. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Limit of one member's JavaScript heap, in MiB. Left out: Node's own. */
  readonly max_old_space_mb?: number;
  /** A member without work ends after so long; 30 s when left out. */
  readonly idle_ms?: number;
  /** Kinds of which one member is started at once, and never ends for want of work; none when left out. */
  readonly ready?: readonly Bundle['isolation'][];
  /** Takes what executors log, and why members crash. */
  readonly log: (message: string) => void;
}

/**
 * The transport of the embedded mode: a pool of worker threads, and of processes for executors that ask for them, in
 * this very program. Members start when there is work for them, save those kept ready. Nothing outlives the program,
 * whatever ends it.
 */
export function createThreadTransport(options: ThreadTransportOptions): Transport {
  return new ThreadTransport(options);
}

class ThreadTransport implements Transport {
  readonly durable = false;
  #seats: { readonly thread: readonly Seat[]; readonly process: readonly Seat[] } = {
    thread: [],
    process: [],
  };
  #sink: TransportSink | undefined;
  #queue: Bundle[] = [];
  #stopping = false;
  #watch_timer: NodeJS.Timeout | undefined;
  #heartbeat_timer: NodeJS.Timeout | undefined;
  #emptied: (() => void) | undefined;

  constructor(private readonly options: ThreadTransportOptions) {}

  slots(): number {
    return this.options.workers;
  }

  lanes(): number {
    return this.options.lanes;
  }

  obstacle(): null {
    return null;
  }

  /** A pool in this very program knows when a member dies: it says `lost` itself. */
  async missing(): Promise<readonly LeaseRef[]> {
    return [];
  }

  async problems(): Promise<readonly string[]> {
    return [];
  }

  async start(sink: TransportSink): Promise<void> {
    this.#sink = sink;
    const {
      member: script,
      member_options,
      workers,
      env,
      max_old_space_mb,
      idle_ms = 30_000,
      ready = [],
      log,
    } = this.options;
    const options: MemberOptions = { script, member_options, env: memberEnvironment(env), max_old_space_mb };
    const seats = (kind: string, startMember: SeatHost['startMember']): Seat[] => {
      const host: SeatHost = {
        sink,
        idle_ms,
        startMember,
        takeBack: (bundles) => this.#takeBack(bundles),
        changed: () => this.#changed(),
        log,
      };
      return Array.from({ length: workers }, (_, i) => new Seat(`${kind}-${i + 1}`, host));
    };
    this.#seats = {
      thread: seats('thread', (listener) => startThread(options, listener)),
      process: seats('process', (listener) => startProcess(options, listener)),
    };
    this.#heartbeat_timer = setInterval(() => this.#heartbeat(), heartbeat_ms);
    for (const kind of ready) this.#seats[kind][0]!.keepReady();
  }

  async dispatch(bundle: Bundle): Promise<void> {
    if (this.#sink === undefined || this.#stopping)
      throw new Error('The transport is stopped: it takes no bundle.');
    this.#queue.push({ ...bundle, concurrency: Math.min(bundle.concurrency, this.options.lanes) });
    this.#feed();
  }

  async cancel(plan_id: string): Promise<void> {
    const dropped = this.#queue.filter((bundle) => bundle.plan_id === plan_id);
    this.#queue = this.#queue.filter((bundle) => bundle.plan_id !== plan_id);
    this.#refuse(dropped, 'aborted');
    const now = performance.now();
    for (const seat of this.#allSeats()) seat.cancel(plan_id, now);
  }

  async stop(grace_ms: number): Promise<void> {
    this.#stopping = true;
    this.#refuse(this.#queue.splice(0), 'the worker is stopping');
    for (const seat of this.#allSeats()) seat.drain();
    await this.#idleWithin(grace_ms);
    const cut_off = this.#allSeats().flatMap((seat) => seat.running);
    if (cut_off.length > 0) {
      this.options.log(
        `The drain time of ${grace_ms} ms is over. Bundles cut off, to run again: ${countsByStage(cut_off)}.`,
      );
    }
    await Promise.all(this.#allSeats().map((seat) => seat.stop()));
    clearInterval(this.#heartbeat_timer);
    clearInterval(this.#watch_timer);
  }

  #allSeats(): Seat[] {
    return [...this.#seats.thread, ...this.#seats.process];
  }

  /** Hands out bundles strictly in their order, so that neither kind of executor starves the other. */
  #feed(): void {
    for (let bundle = this.#queue[0]; bundle !== undefined; bundle = this.#queue[0]) {
      const seat = this.#seatFor(bundle);
      if (seat === undefined) break;
      this.#queue.shift();
      seat.take(bundle);
    }
    if (this.#busySeats() > 0) this.#watch_timer ??= setInterval(() => this.#watch(), watch_ms);
  }

  /**
   * An empty seat while workers are free, else one where the bundle can wait for its turn. One that would wait for its own stage
   * anyway waits where that runs, if it may.
   */
  #seatFor(bundle: Bundle): Seat | undefined {
    const open = this.#seats[bundle.isolation].filter((seat) => seat.open);
    const same = bundle.one_by_one === true ? open.find((seat) => seat.hasStageOf(bundle)) : undefined;
    if (same !== undefined) return same;
    const empty = this.#busySeats() < this.options.workers ? open.find((seat) => !seat.busy) : undefined;
    return empty ?? open.find((seat) => seat.busy);
  }

  #busySeats(): number {
    return this.#allSeats().filter((seat) => seat.busy).length;
  }

  #changed(): void {
    this.#feed();
    if (this.#busySeats() === 0) this.#emptied?.();
  }

  #takeBack(bundles: readonly Bundle[]): void {
    if (this.#stopping) this.#refuse(bundles, 'the worker is stopping');
    else this.#queue.unshift(...bundles);
  }

  /** Gives bundles back that no member has begun. */
  #refuse(bundles: readonly Bundle[], reason: string): void {
    for (const { plan_id, bundle, attempt } of bundles)
      this.#sink?.refused({ plan_id, bundle, attempt, reason });
  }

  #watch(): void {
    const now = performance.now();
    for (const seat of this.#allSeats()) seat.watch(now);
    if (this.#busySeats() > 0) return;
    clearInterval(this.#watch_timer);
    this.#watch_timer = undefined;
  }

  #heartbeat(): void {
    for (const { plan_id, bundle, attempt } of this.#queue)
      this.#sink?.heartbeat({ plan_id, bundle, attempt });
    for (const seat of this.#allSeats()) seat.heartbeat();
  }

  /** Resolves when no seat is busy, or the grace is over. */
  async #idleWithin(grace_ms: number): Promise<void> {
    if (this.#busySeats() === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, grace_ms);
      this.#emptied = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** How many bundles of which stages, for people. */
function countsByStage(bundles: readonly Bundle[]): string {
  const counts = new Map<string, number>();
  for (const { plan_id, stage } of bundles) {
    const of = `stage ${stage} of plan ${plan_id}`;
    counts.set(of, (counts.get(of) ?? 0) + 1);
  }
  return Array.from(counts, ([of, count]) => `${count} of ${of}`).join(', ');
}

function memberEnvironment(env: ThreadTransportOptions['env']): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter(
      (entry): entry is [string, string] => entry[1] !== undefined && member_variables.test(entry[0]),
    ),
  );
}
