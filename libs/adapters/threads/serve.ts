import { writeSync } from 'node:fs';
import { parentPort, Worker } from 'node:worker_threads';
import {
  printOutcomes,
  runBundle,
  type ArtifactStore,
  type Bundle,
  type Cache,
  type Executor,
  type HttpClient,
  type Targets,
  type Workspace,
} from '#hxo/execute';
import { lane_fd, lane_idle, lane_record_bytes, type FromMember, type ToMember } from './protocol.js';

/** Log lines of one bundle beyond this are dropped: an executor that logs in a loop must not fill the pool's memory. */
const bundle_log_lines_max = 100;
const log_chars_max = 1_000;

/** What a member works with. */
export interface MemberEquipment {
  readonly executors: ReadonlyMap<string, Executor>;
  readonly artifacts: ArtifactStore;
  readonly workspace: Workspace;
  readonly cache: Cache;
  readonly http: HttpClient;
  readonly targets?: Targets;
}

/**
 * Makes the calling script a member of a pool, thread or process: call it once, at the end of the script. `equip` gets
 * the transport's `member_options`; when it throws, the pool is told why.
 */
export function serveMember(equip: (options: unknown) => MemberEquipment | Promise<MemberEquipment>): void {
  const channel = parentPort === null ? new ProcessChannel() : new ThreadChannel(parentPort);
  let member: Serving | undefined;
  const early: ToMember[] = [];
  channel.listen((message) => {
    if (message.type === 'init') {
      if (message.lanes !== null) channel.lanes = message.lanes;
      void Promise.resolve(message.options)
        .then(equip)
        .then(
          async (equipment) => {
            await channel.send({ type: 'ready' });
            member = new Serving(channel, equipment);
            for (const waiting of early) member.take(waiting);
          },
          async (error: unknown) => {
            await channel.send({ type: 'broken', reason: String(error) });
            process.exit(1);
          },
        );
    } else if (member === undefined) {
      early.push(message);
    } else {
      member.take(message);
    }
  });
}

interface Channel {
  lanes: Int32Array;
  listen(take: (message: ToMember) => void): void;
  /** Resolves when the message will reach the pool even if this member is killed the moment after. Never rejects. */
  send(message: FromMember): void | Promise<void>;
  show(lane: number, sequence: number): void;
}

class ThreadChannel implements Channel {
  lanes: Int32Array = new Int32Array(0);
  constructor(private readonly port: NonNullable<typeof parentPort>) {}
  listen(take: (message: ToMember) => void): void {
    this.port.on('message', take);
  }
  send(message: FromMember): void {
    this.port.postMessage(message);
  }
  show(lane: number, sequence: number): void {
    Atomics.store(this.lanes, lane, sequence);
  }
}

class ProcessChannel implements Channel {
  lanes: Int32Array = new Int32Array(0);
  readonly #record = Buffer.alloc(lane_record_bytes);

  listen(take: (message: ToMember) => void): void {
    // The pool decides when a member ends: Ctrl-C and a service manager signal the whole group, but shards may drain.
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
    process.on('disconnect', () => process.exit(0));
    // Told to the pool, as a thread's is: on stderr it would be one more form of log, of nobody's bundle.
    process.on('uncaughtException', (error: unknown) => {
      void this.send({ type: 'broken', reason: String(error) }).then(() => process.exit(1));
    });
    new Worker(new URL('./orphan-watch.js', import.meta.url), {
      workerData: { parent_pid: process.ppid },
      resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
    }).unref();
    process.on('message', take);
  }
  send(message: FromMember): Promise<void> {
    return new Promise((resolve) => {
      if (process.connected) process.send!(message, undefined, undefined, () => resolve());
      else resolve();
    });
  }
  show(lane: number, sequence: number): void {
    this.#record.writeInt32LE(lane, 0);
    this.#record.writeInt32LE(sequence, 4);
    writeSync(lane_fd, this.#record);
  }
}

interface Waiting {
  readonly bundle: Bundle;
  readonly base: number;
  readonly abort: AbortController;
}

/** A member at work: a short queue of bundles, run one after another. */
class Serving {
  readonly #queue: Waiting[] = [];
  #running: Waiting | undefined;
  #halted = false;

  constructor(
    private readonly channel: Channel,
    private readonly equipment: MemberEquipment,
  ) {}

  take(message: ToMember): void {
    if (message.type === 'bundle') {
      this.#queue.push({ bundle: message.bundle, base: message.base, abort: new AbortController() });
      if (this.#running === undefined) void this.#work();
    } else if (message.type === 'cancel') {
      for (const waiting of [this.#running, ...this.#queue]) {
        if (waiting?.bundle.plan_id === message.plan_id) waiting.abort.abort();
      }
    } else if (message.type === 'drain') {
      for (const waiting of this.#queue) waiting.abort.abort();
    }
  }

  async #work(): Promise<void> {
    while (!this.#halted && (this.#running = this.#queue.shift()) !== undefined) {
      if (!this.#running.abort.signal.aborted) await this.channel.send({ type: 'begun' });
      await runBundle(this.#running.bundle, this.#hostOf(this.#running));
    }
  }

  #hostOf({ base, abort }: Waiting): Parameters<typeof runBundle>[1] {
    const { channel, equipment } = this;
    let log_lines = 0;
    return {
      ...equipment,
      signal: abort.signal,
      report: (outcomes, final) => {
        const halted = outcomes.some((outcome) => outcome.status === 'failed' && outcome.verdict === 'halt');
        // The pool ends this member as soon as it hears of it: another bundle must not begin in between.
        this.#halted ||= halted;
        const ordinals = outcomes.map((outcome) => outcome.ordinal);
        return channel.send({ type: 'outcomes', outcomes: printOutcomes(outcomes), ordinals, halted, final });
      },
      progress: (index, lane) => channel.show(lane, index < 0 ? lane_idle : base + index),
      log: (message) => {
        if (log_lines++ < bundle_log_lines_max) {
          void channel.send({ type: 'log', message: String(message).slice(0, log_chars_max) });
        }
      },
      now: () => performance.now(),
    };
  }
}
