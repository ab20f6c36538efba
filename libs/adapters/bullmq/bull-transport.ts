import { setTimeout as sleep } from 'node:timers/promises';
import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Bundle, LeaseRef, Transport, TransportSink } from '#hxo/execute';
import { connect } from './connection.js';
import { cancel_channel, cancelKey, jobId, queue_prefix, queueName } from './names.js';
import { ReportReader } from './reports.js';
import { Seal } from './seal.js';
import { printBundle, type Report } from './wire.js';
import { listWorkers, type WorkerCard } from './worker-registry.js';

const registry_ms = 1_000;
/** What Redis said of its workers counts for so long. Once it is older, Redis is away or hangs, and nothing is handed to it. */
const registry_valid_ms = 5_000;
/** What reports that are being taken get, to be committed and acknowledged; what does not make it is read again. */
const stop_max_ms = 2_000;
const cancelled_ttl_s = 24 * 3_600;

export interface BullTransportOptions {
  readonly redis_url: string;
  /** Shared with the workers; null only for a Redis on loopback. */
  readonly bundle_key: string | null;
  /** Fingerprint of the workspace that plans are made of, as it is now. */
  readonly workspace: () => string;
  readonly log: (message: string) => void;
}

/**
 * Carries bundles as BullMQ jobs to worker processes, and their reports back over a stream. Redis may lose everything at any
 * moment: the checkpoint store knows what was leased, `missing` finds what no longer exists, and the engine leases it again.
 */
export class BullTransport implements Transport {
  readonly durable = true;
  private readonly seal: Seal;
  private readonly redis: Redis;
  private readonly queueing: Redis;
  private readonly reading: Redis;
  private readonly queues = new Map<string, Queue>();
  private workers: readonly WorkerCard[] = [];
  /** When Redis last told the workers, in monotonic milliseconds. */
  private told_ms = -Infinity;
  private refreshing = false;
  private workspace = '';
  private reader: ReportReader | null = null;
  private sink: TransportSink | null = null;
  private registry: NodeJS.Timeout | null = null;
  private stopping = false;
  private trouble: string | null = null;

  constructor(private readonly options: BullTransportOptions) {
    const onError = (error: Error): void => this.complain(error);
    this.seal = new Seal(options.bundle_key);
    this.redis = connect(options.redis_url, onError);
    this.queueing = connect(options.redis_url, onError, { pipelines: false });
    this.reading = connect(options.redis_url, onError);
  }

  slots(executor: string): number {
    return this.fit(executor).reduce((sum, worker) => sum + worker.concurrency, 0);
  }

  /** Of the worker that has most: one with fewer takes as many at once as it has. */
  lanes(executor: string): number {
    return Math.max(1, ...this.fit(executor).map((worker) => worker.lanes ?? 1));
  }

  obstacle(executor: string, version: string): string | null {
    if (this.trouble !== null) return `Redis: ${this.trouble}`;
    if (!this.reachable()) return 'Redis, which does not answer';
    const offering = this.workers.filter((worker) => worker.executors[executor] !== undefined);
    if (offering.length === 0) return `a worker that offers executor ${executor}`;
    if (!offering.some((worker) => worker.executors[executor] === version)) {
      const versions = [...new Set(offering.map((worker) => worker.executors[executor]))].join(', ');
      return `a worker with version ${version} of executor ${executor} (workers offer ${versions})`;
    }
    if (offering.some((worker) => worker.workspace === this.workspace)) return null;
    return `a worker with this workspace for executor ${executor} (mount the same files at every worker)`;
  }

  async start(sink: TransportSink): Promise<void> {
    this.sink = sink;
    this.reader = new ReportReader(
      this.reading,
      this.redis,
      this.seal,
      (report) => this.take(sink, report),
      (error) => this.complain(error),
    );
    this.reader.start();
    this.registry = setInterval(() => void this.refresh(), registry_ms);
  }

  async dispatch(bundle: Bundle): Promise<void> {
    if (this.stopping) throw new Error('The transport is stopped: it takes no bundle.');
    // A command would wait until Redis is back, and the lease run out meanwhile, again and again.
    if (!this.reachable()) throw new Error('Redis does not answer: no bundle is handed to it.');
    const data = this.seal.close(printBundle({ ...bundle, workspace: this.workspace }));
    await this.queue(bundle.executor).add('bundle', data, { jobId: jobId(bundle) });
  }

  async cancel(plan_id: string): Promise<void> {
    await this.redis.set(cancelKey(plan_id), '1', 'EX', cancelled_ttl_s);
    await this.redis.publish(cancel_channel, plan_id);
  }

  async missing(leases: readonly (LeaseRef & { readonly executor: string })[]): Promise<readonly LeaseRef[]> {
    if (this.redis.status !== 'ready') return [];
    const states = await Promise.all(
      leases.map((lease) => this.queue(lease.executor).getJobState(jobId(lease))),
    );
    const gone: LeaseRef[] = [];
    leases.forEach((lease, i) => {
      // A bundle that waits for a worker is in good hands; only a worker that runs one must be heard of.
      if (states[i] === 'waiting' || states[i] === 'prioritized' || states[i] === 'delayed')
        this.sink?.heartbeat(lease);
      else if (states[i] !== 'active') gone.push(lease);
    });
    // What they have reported before they went counts first.
    return gone.length === 0 || (await this.reader?.caughtUp()) === true ? gone : [];
  }

  async problems(): Promise<readonly string[]> {
    if (this.redis.status !== 'ready')
      return [`Redis is not reachable: ${this.trouble ?? this.redis.status}.`];
    const [, policy] = (await this.redis.config('GET', 'maxmemory-policy')) as [string, string];
    if (policy === 'noeviction') return [];
    return [`Redis evicts keys (maxmemory-policy is ${policy}): set it to noeviction, or work is lost.`];
  }

  async stop(): Promise<void> {
    this.stopping = true;
    if (this.registry !== null) clearInterval(this.registry);
    this.reading.disconnect();
    // With Redis away, commands that wait for its return do so for ever.
    const limit = sleep(stop_max_ms, false, { ref: false });
    const read = await Promise.race([this.reader?.stop().then(() => true), limit]);
    if (read === false)
      this.options.log(`Redis did not answer within ${stop_max_ms} ms: reports are read again later.`);
    this.queueing.disconnect();
    this.redis.disconnect();
  }

  private reachable(): boolean {
    return this.redis.status === 'ready' && performance.now() - this.told_ms < registry_valid_ms;
  }

  /** Workers that can be reached, and take bundles of an executor. */
  private fit(executor: string): readonly WorkerCard[] {
    if (!this.reachable()) return [];
    return this.workers.filter(
      (worker) => worker.executors[executor] !== undefined && worker.workspace === this.workspace,
    );
  }

  private take(sink: TransportSink, report: Report): Promise<void> {
    if (report.type === 'outcomes') return sink.outcomes(report);
    if (report.type === 'started') sink.started(report);
    else if (report.type === 'heartbeat') sink.heartbeat(report);
    else if (report.type === 'refused') sink.refused(report);
    else sink.lost(report);
    return Promise.resolve();
  }

  private queue(executor: string): Queue {
    let queue = this.queues.get(executor);
    if (queue === undefined) {
      queue = new Queue(queueName(executor), {
        connection: this.queueing,
        prefix: queue_prefix,
        // Nobody listens to BullMQ's own events: reports say what happened.
        streams: { events: { maxLen: 0 } },
        // A job that ended is of no use, however it ended: the store knows, and dispatches again what it misses.
        defaultJobOptions: { removeOnComplete: true, removeOnFail: true, attempts: 1 },
      });
      queue.on('error', (error) => this.complain(error));
      this.queues.set(executor, queue);
    }
    return queue;
  }

  /** Asks Redis for its workers. One that does not answer is asked once: the question waits until it does. */
  private async refresh(): Promise<void> {
    if (this.refreshing) return;
    this.refreshing = true;
    try {
      this.workspace = this.options.workspace();
      this.workers = await listWorkers(this.redis);
      this.told_ms = performance.now();
      await this.silenceEvents();
      this.trouble = null;
      this.sink?.changed();
    } catch (error) {
      this.complain(error as Error);
    } finally {
      this.refreshing = false;
    }
  }

  /** BullMQ sets the length of its event streams once, and a Redis that has lost its memory falls back to thousands. */
  private async silenceEvents(): Promise<void> {
    for (const { keys } of this.queues.values()) {
      if ((await this.redis.hget(keys.meta!, 'opts.maxLenEvents')) === '0') continue;
      await this.redis.hset(keys.meta!, 'opts.maxLenEvents', 0);
      await this.redis.xtrim(keys.events!, 'MAXLEN', 0);
    }
  }

  private complain(error: Error): void {
    if (this.stopping || this.trouble === error.message) return;
    this.trouble = error.message;
    this.options.log(`Redis: ${error.message}`);
  }
}
