import { setTimeout as sleep } from 'node:timers/promises';
import { Worker, type Job } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Bundle, LeaseRef, OutcomeBatch, Transport, TransportSink } from '#hxo/execute';
import { connect } from './connection.js';
import { cancel_channel, cancelKey, queue_prefix, queueName } from './names.js';
import { writeReport } from './reports.js';
import { Seal, SealBroken } from './seal.js';
import { parseBundle, type Report, type SentBundle } from './wire.js';
import { announceWorker, dismissWorker, type WorkerCard } from './worker-registry.js';
import { WorkspaceWatch } from './workspace-watch.js';

const announce_ms = 2_000;
/** Redis is there if it took one of the last announcements. */
const told_valid_ms = 3 * announce_ms;
/** A worker that refuses a bundle leaves the next ones to the others for so long: most may be for them. */
const refusal_pause_ms = 1_000;
/** What reports and the farewell get at the end, beyond the grace. */
const farewell_ms = 2_000;

export interface BundleWorkerOptions {
  readonly redis_url: string;
  readonly bundle_key: string | null;
  /** What the worker says of itself, but for what changes. */
  readonly card: Omit<WorkerCard, 'load' | 'workspace' | 'key_id'>;
  /** Fingerprint of its workspace, as it is now. */
  readonly workspace: () => string;
  /** Runs the bundles in this process: a pool of threads and processes. */
  readonly pool: Transport;
  readonly log: (message: string) => void;
}

/**
 * Takes bundles from Redis, runs them in a pool, reports back. Keeps nothing: a worker that dies costs the leases that it
 * held, and one that cannot reach Redis waits until it can.
 */
export class BundleWorker implements TransportSink {
  private readonly seal: Seal;
  private readonly redis: Redis;
  private readonly listening: Redis;
  private readonly workers: Worker[] = [];
  private readonly consuming: Redis[] = [];
  private readonly running = new Map<string, { readonly bundle: Bundle; readonly ended: () => void }>();
  private readonly workspace: WorkspaceWatch;
  private announcing: NodeJS.Timeout | null = null;
  private telling = false;
  /** When Redis last took an announcement, in monotonic milliseconds. */
  private told_ms = -Infinity;
  private last_error: string | null = null;
  private draining = false;

  constructor(private readonly options: BundleWorkerOptions) {
    const onError = (error: Error): void => this.complain(error);
    this.seal = new Seal(options.bundle_key);
    this.redis = connect(options.redis_url, onError);
    this.listening = connect(options.redis_url, onError);
    this.workspace = new WorkspaceWatch(options.workspace, options.log);
  }

  /** Resolves once bundles are taken: with Redis away that is when it is back. */
  async start(): Promise<void> {
    const { pool, card } = this.options;
    await pool.start(this);
    this.listening.on('message', (_channel, plan_id: string) => void pool.cancel(plan_id, []));
    try {
      await this.listening.subscribe(cancel_channel);
    } catch (error) {
      // Stopped before Redis came.
      if (this.draining) return;
      throw error;
    }
    await this.announce();
    this.announcing = setInterval(() => void this.announce(), announce_ms);
    for (const [executor, version] of Object.entries(card.executors))
      this.workers.push(this.consume(executor, version));
  }

  /** Takes no more bundles, gives those that run `grace_ms`, reports what they came to, and goes. */
  async stop(grace_ms: number): Promise<void> {
    // It is still there, for what it runs, but not for more.
    this.draining = true;
    void this.announce();
    // With Redis away, what is to be told to it waits for ever.
    const limit = sleep(grace_ms + farewell_ms, false, { ref: false });
    const told = await Promise.race([this.farewell(grace_ms).then(() => true), limit]);
    if (!told) {
      this.options.log(
        `Redis did not answer within ${grace_ms + farewell_ms} ms. Bundles without a last report, to run again: ${this.running.size}.`,
      );
    }
    if (this.announcing !== null) clearInterval(this.announcing);
    for (const connection of [this.redis, this.listening, ...this.consuming]) connection.disconnect();
  }

  private async farewell(grace_ms: number): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.pause(true)));
    await this.options.pool.stop(grace_ms);
    await Promise.all(this.workers.map((worker) => worker.close()));
    if (this.announcing !== null) clearInterval(this.announcing);
    // One that is not there forgets the worker by itself.
    if (this.redis.status === 'ready') await dismissWorker(this.redis, this.options.card.id);
  }

  /** Is Redis there, and takes what it is told? */
  connected(): boolean {
    return this.redis.status === 'ready' && performance.now() - this.told_ms < told_valid_ms;
  }

  load(): number {
    return this.running.size;
  }

  // What the pool reports, passed on.

  started(lease: LeaseRef & { readonly worker: string }): void {
    this.tell({ type: 'started', ...lease, worker: this.nameOf(lease.worker) });
  }

  heartbeat(lease: LeaseRef): void {
    this.tell({ type: 'heartbeat', ...lease });
  }

  async outcomes(batch: OutcomeBatch): Promise<void> {
    await writeReport(this.redis, this.seal, {
      type: 'outcomes',
      ...batch,
      worker: this.nameOf(batch.worker),
    });
    if (batch.final) this.end(batch);
  }

  refused(lease: LeaseRef & { readonly reason: string }): void {
    this.tell({ type: 'refused', ...lease });
    this.end(lease);
  }

  lost(lease: LeaseRef & { readonly reason: string }): void {
    this.tell({ type: 'lost', ...lease });
    this.end(lease);
  }

  changed(): void {}

  private consume(executor: string, version: string): Worker {
    const connection = this.redis.duplicate({ enableAutoPipelining: false });
    this.consuming.push(connection);
    const name = queueName(executor, version, this.seal.key_id);
    const worker = new Worker<string>(name, (job) => this.run(job), {
      connection,
      prefix: queue_prefix,
      // One bundle runs for each slot, and one waits at hand.
      concurrency: 2 * this.options.card.concurrency,
      // Only HXO dispatches again: BullMQ would run a stalled job a second time by itself.
      maxStalledCount: 0,
      removeOnComplete: { count: 0 },
      removeOnFail: { count: 0 },
    });
    worker.on('error', (error) => this.complain(error));
    return worker;
  }

  /** Runs a job to its end. It never fails in BullMQ's eyes: what became of the bundle is in the reports. */
  private async run(job: Job<string>): Promise<void> {
    const bundle = this.read(job.data);
    if (bundle === null) return;
    const refusal = await this.refusal(bundle);
    if (refusal !== null) {
      this.refused({ ...leaseOf(bundle), reason: refusal });
      await sleep(refusal_pause_ms);
      return;
    }
    await new Promise<void>((resolve) => {
      this.running.set(keyOf(bundle), { bundle, ended: resolve });
      this.options.pool
        .dispatch(bundle)
        .catch((error: Error) => this.refused({ ...leaseOf(bundle), reason: error.message }));
    });
  }

  /** Null for what is no bundle of ours: its lease, if it has one, is found missing. */
  private read(sealed: string): SentBundle | null {
    try {
      return parseBundle(this.seal.open(sealed));
    } catch (error) {
      this.complain(error instanceof SealBroken ? error : new Error('A bundle in Redis cannot be read.'));
      return null;
    }
  }

  /** Why this worker does not take the bundle, in words that name it; null when it does. */
  private async refusal(bundle: SentBundle): Promise<string | null> {
    const { id } = this.options.card;
    if (bundle.reads_files && bundle.workspace !== this.workspace.fingerprint)
      return `${id} has another workspace than the plan (mount the same files there)`;
    if ((await this.redis.exists(cancelKey(bundle.plan_id))) === 1) return 'aborted';
    return null;
  }

  private end(lease: LeaseRef): void {
    this.running.get(keyOf(lease))?.ended();
    this.running.delete(keyOf(lease));
  }

  private tell(report: Report): void {
    writeReport(this.redis, this.seal, report).catch((error: Error) => this.complain(error));
  }

  /** Says that the worker is there. With Redis away it is said once, when that is back. */
  private async announce(): Promise<void> {
    if (this.telling) return;
    this.telling = true;
    this.workspace.look();
    const { card } = this.options;
    const own = {
      concurrency: this.draining ? 0 : card.concurrency,
      load: this.running.size,
      workspace: this.workspace.fingerprint,
      key_id: this.seal.key_id,
    };
    try {
      await announceWorker(this.redis, { ...card, ...own });
      this.told_ms = performance.now();
      this.last_error = null;
    } catch (error) {
      this.complain(error as Error);
    } finally {
      this.telling = false;
    }
  }

  private nameOf(member: string): string {
    return `${member}@${this.options.card.id}`;
  }

  /** Tells of an error, once as long as it stays the same. */
  private complain(error: Error): void {
    if (this.last_error === error.message) return;
    this.last_error = error.message;
    this.options.log(`Redis: ${error.message}`);
  }
}

function leaseOf({ plan_id, bundle, attempt }: LeaseRef): LeaseRef {
  return { plan_id, bundle, attempt };
}

function keyOf({ plan_id, bundle, attempt }: LeaseRef): string {
  return `${plan_id}/${bundle}/${attempt}`;
}
