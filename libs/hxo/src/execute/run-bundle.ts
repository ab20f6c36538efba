import type { ArtifactStore } from './artifact-store.js';
import type { Cache } from './cache.js';
import type { Executor, ExecutorContext } from './contract.js';
import type { HttpClient } from './http-client.js';
import { done, failed, failureOf, pastLimit, type Accepted, type Failure } from './outcome.js';
import { performOf, type Perform } from './perform.js';
import type { Bundle, Outcome } from './transport.js';
import type { Targets } from './targets.js';
import type { Workspace } from './workspace.js';

const batch_outcomes_max = 1_024;
/** Outcomes wait so long for company: each report costs a commit, which holds up those of a database on the same disk. */
const batch_ms = 25;
/** Those of shards that write to one database, one by one, wait longer: they are what a commit holds up. */
const batch_one_by_one_ms = 100;
/** The longest delay that setTimeout takes. */
const timer_ms_max = 2 ** 31 - 1;

/** Executors by name. */
export type ExecutorRegistry = ReadonlyMap<string, Executor>;

/** Puts executors under their names. Throws when two have the same name: neither could be told from the other. */
export function registerExecutors(list: readonly Executor[]): ExecutorRegistry {
  const registry = new Map<string, Executor>();
  for (const executor of list) {
    if (registry.has(executor.name)) {
      throw new Error(`Two executors are named "${executor.name}". Rename one, or load it only once.`);
    }
    registry.set(executor.name, executor);
  }
  return registry;
}

/** What a worker offers the bundles that it runs. */
export interface BundleHost {
  readonly executors: ExecutorRegistry;
  readonly artifacts: ArtifactStore;
  readonly workspace: Workspace;
  readonly cache: Cache;
  readonly http: HttpClient;
  readonly targets?: Targets;
  /** Aborted when the plan is, or the worker must stop: shards under way are told, no other begins. */
  readonly signal: AbortSignal;
  /** Takes outcomes, in the order in which shards ended; `final` exactly once, on the last call. Never rejects. */
  report(outcomes: readonly Outcome[], final: boolean): void | Promise<void>;
  /**
   * Called before the shard at `index` of the bundle begins in a lane (0 to concurrency - 1), and with index -1 when
   * the lane has nothing more to do. Whoever watches the worker from outside learns from it whom to blame.
   */
  progress(index: number, lane: number): void;
  log(message: string): void;
  /** A monotonic clock, in milliseconds. */
  now(): number;
}

/**
 * Runs a bundle: what a worker does with it, wherever that worker is.
 *
 * Shards start in order, `bundle.concurrency` at once. A shard past `shard_timeout_ms` has its signal aborted and has
 * failed as soon as it settles; one that never settles is for the watchdog outside to end. Outcomes are reported before
 * the next shard starts when {@link batch_ms} have passed since the last report: fast shards cost no message each, and a
 * shard that hangs, and has to be killed, takes no more work than that with it.
 */
export async function runBundle(bundle: Bundle, host: BundleHost): Promise<void> {
  const ordinals = ordinalsOf(bundle);
  const perform = performOf(bundle, host.executors.get(bundle.executor));
  if (typeof perform === 'function') return new BundleRun(bundle, ordinals, perform, host).run();
  const outcomes = ordinals.map((ordinal) => failed(ordinal, perform, 0));
  await host.report(outcomes, true);
}

/** Ordinals of a bundle's shards, in its order; a collector reports ordinal 0. */
export function ordinalsOf({ work }: Bundle): readonly number[] {
  return work.type === 'shards' ? work.ordinals : [0];
}

/** What one shard sees. Its signal is made when it is asked for: most shards never ask. */
class ShardContext implements ExecutorContext {
  readonly artifacts: ArtifactStore;
  readonly workspace: Workspace;
  readonly cache: Cache;
  readonly http: HttpClient;
  readonly targets?: Targets;
  timed_out = false;
  #controller: AbortController | undefined;
  #abort_reason: Error | undefined;

  constructor(
    private readonly host: BundleHost,
    readonly started_at: number,
  ) {
    this.artifacts = host.artifacts;
    this.workspace = host.workspace;
    this.cache = host.cache;
    this.http = host.http;
    if (host.targets !== undefined) this.targets = host.targets;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#abort_reason !== undefined) this.#controller.abort(this.#abort_reason);
    }
    return this.#controller.signal;
  }

  log(message: string): void {
    this.host.log(message);
  }

  abort(reason: Error): void {
    this.#abort_reason ??= reason;
    this.#controller?.abort(reason);
  }
}

/** One run of one bundle: its lanes, its clock and its unreported outcomes. */
class BundleRun {
  readonly #lanes: (ShardContext | undefined)[];
  readonly #batch_ms: number;
  #next = 0;
  #halted = false;
  #unreported: Outcome[] = [];
  #reported_at: number;
  #timer: NodeJS.Timeout | undefined;
  #flush_timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly bundle: Bundle,
    private readonly ordinals: readonly number[],
    private readonly perform: Perform,
    private readonly host: BundleHost,
  ) {
    const lanes = Math.max(1, Math.min(bundle.concurrency, ordinals.length));
    this.#lanes = new Array<undefined>(lanes).fill(undefined);
    this.#batch_ms = bundle.one_by_one === true ? batch_one_by_one_ms : batch_ms;
    this.#reported_at = host.now();
  }

  async run(): Promise<void> {
    const { host } = this;
    const onAbort = () => this.#abortLanes();
    host.signal.addEventListener('abort', onAbort, { once: true });
    if (this.bundle.shard_timeout_ms > 0) this.#wakeIn(this.bundle.shard_timeout_ms);
    try {
      await Promise.all(this.#lanes.map((_, lane) => this.#runLane(lane)));
    } finally {
      clearTimeout(this.#timer);
      clearTimeout(this.#flush_timer);
      host.signal.removeEventListener('abort', onAbort);
    }
    await host.report(this.#unreported, true);
  }

  async #runLane(lane: number): Promise<void> {
    const { host, ordinals } = this;
    let now = this.#reported_at;
    for (;;) {
      // The last outcomes of a bundle go with its final report.
      if (this.#halted || host.signal.aborted || this.#next >= ordinals.length) break;
      if (this.#isDue(now)) {
        await this.#report();
        now = host.now();
        continue;
      }
      const index = this.#next++;
      host.progress(index, lane);
      const context = new ShardContext(host, now);
      this.#lanes[lane] = context;
      const result = await settle(this.perform, index, context);
      now = host.now();
      this.#lanes[lane] = undefined;
      this.#record(ordinals[index]!, result, context, now - context.started_at);
    }
    host.progress(-1, lane);
  }

  #isDue(now: number): boolean {
    if (this.#unreported.length === 0) return false;
    return now - this.#reported_at >= this.#batch_ms || this.#unreported.length >= batch_outcomes_max;
  }

  #record(ordinal: number, result: Accepted | Failure, context: ShardContext, elapsed_ms: number): void {
    const duration_ms = Math.round(elapsed_ms * 1_000) / 1_000;
    if (context.timed_out) {
      this.#unreported.push(pastLimit(this.bundle, ordinal, duration_ms));
    } else if (!('verdict' in result)) {
      this.#unreported.push(done(ordinal, result, duration_ms));
    } else if (!this.host.signal.aborted) {
      if (result.verdict === 'halt') this.#halted = true;
      this.#unreported.push(failed(ordinal, result, duration_ms));
    }
    // A shard that failed because its worker was told to stop has no outcome: it comes free with the final report.
    this.#flush_timer ??= setTimeout(() => void this.#report(), this.#batch_ms);
  }

  async #report(): Promise<void> {
    clearTimeout(this.#flush_timer);
    this.#flush_timer = undefined;
    const outcomes = this.#unreported;
    this.#unreported = [];
    this.#reported_at = this.host.now();
    if (outcomes.length > 0) await this.host.report(outcomes, false);
    // Shards whose promises never leave the microtask queue would starve timers and messages of the worker.
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** One timer serves all shards: it moves along to the earliest deadline that is left. */
  #wakeIn(delay_ms: number): void {
    this.#timer = setTimeout(() => this.#endOverdue(), Math.min(delay_ms, timer_ms_max));
  }

  #endOverdue(): void {
    const limit_ms = this.bundle.shard_timeout_ms;
    const now = this.host.now();
    let delay_ms = limit_ms;
    for (const context of this.#lanes) {
      if (context === undefined || context.timed_out) continue;
      const left_ms = context.started_at + limit_ms - now;
      if (left_ms > 0) {
        delay_ms = Math.min(delay_ms, left_ms);
      } else {
        context.timed_out = true;
        context.abort(new DOMException(`Its limit of ${limit_ms} ms is over.`, 'TimeoutError'));
      }
    }
    this.#wakeIn(Math.ceil(delay_ms));
    if (this.#unreported.length > 0) void this.#report();
  }

  #abortLanes(): void {
    const reason = new DOMException('The worker was told to stop this plan.', 'AbortError');
    for (const context of this.#lanes) context?.abort(reason);
  }
}

async function settle(perform: Perform, index: number, context: ShardContext): Promise<Accepted | Failure> {
  try {
    return await perform(index, context);
  } catch (error) {
    return failureOf(error);
  }
}
