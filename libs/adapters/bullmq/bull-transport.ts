import { setTimeout as sleep } from 'node:timers/promises';
import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Bundle, LeaseRef, Transport, TransportSink, WorkerNeeds } from '#hxo/execute';
import { connect } from './connection.js';
import { cancel_channel, cancelKey, jobId, queue_prefix, queueName } from './names.js';
import { RedisWatch } from './redis-watch.js';
import { ReportReader } from './reports.js';
import { Seal } from './seal.js';
import { printBundle, type Report } from './wire.js';
import type { WorkerCard } from './worker-registry.js';
import { WorkspaceWatch } from './workspace-watch.js';

/** What reports that are being taken get, to be committed and acknowledged; what does not make it is read again. */
const stop_max_ms = 2_000;
/** How long a worker that takes a bundle of a cancelled plan is told so: what waits is taken back at once. */
const cancelled_ttl_s = 60;

export interface BullTransportOptions {
  readonly redis_url: string;
  /** Names this HXO among those that might use the same Redis by mistake; the same after every start. */
  readonly owner: string;
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
  private readonly watch: RedisWatch;
  private readonly workspace: WorkspaceWatch;
  private reader: ReportReader | null = null;
  private sink: TransportSink | null = null;
  private stopping = false;

  constructor(private readonly options: BullTransportOptions) {
    const onError = (error: Error): void => this.complain(error);
    this.seal = new Seal(options.bundle_key);
    this.redis = connect(options.redis_url, onError);
    this.queueing = connect(options.redis_url, onError, { pipelines: false });
    this.reading = connect(options.redis_url, onError);
    this.watch = new RedisWatch(this.redis, options.owner, options.log);
    this.workspace = new WorkspaceWatch(options.workspace, options.log);
  }

  slots(needs: WorkerNeeds): number {
    return this.fit(needs).reduce((sum, worker) => sum + worker.concurrency, 0);
  }

  /** Of the worker that has most: one with fewer takes as many at once as it has. */
  lanes(needs: WorkerNeeds): number {
    return Math.max(1, ...this.fit(needs).map((worker) => worker.lanes ?? 1));
  }

  obstacle({ executor, executor_version, reads_files }: WorkerNeeds): string | null {
    const [problem] = this.watch.problems();
    if (problem !== undefined) return `Redis: ${problem}`;
    const offering = this.watch.workers.filter((worker) => worker.executors[executor] !== undefined);
    if (offering.length === 0) return `a worker that offers executor ${executor}`;
    const keyed = offering.filter((worker) => worker.key_id === this.seal.key_id);
    if (keyed.length === 0)
      return `a worker with the same HXO_BUNDLE_KEY for executor ${executor} (${namesOf(offering)} have another)`;
    const able = keyed.filter((worker) => worker.executors[executor] === executor_version);
    if (able.length === 0) {
      const offers = keyed.map(({ id, executors }) => `${id} has ${executors[executor]}`).join(', ');
      return `a worker with version ${executor_version} of executor ${executor} (${offers})`;
    }
    if (!reads_files || able.some((worker) => this.hasWorkspace(worker))) return null;
    const { error } = this.workspace;
    if (error !== null) return `the workspace, which cannot be listed: ${error}`;
    return `a worker with this workspace for executor ${executor} (mount the same files at ${namesOf(able)})`;
  }

  async start(sink: TransportSink): Promise<void> {
    this.sink = sink;
    this.reader = new ReportReader(
      this.reading,
      this.redis,
      this.seal,
      (report) => this.take(sink, report),
      (error) => this.complain(error),
      () => this.watch.owned,
    );
    this.reader.start();
    this.watch.start(async () => {
      this.workspace.look();
      await this.silenceEvents();
      sink.changed();
    });
  }

  async dispatch(bundle: Bundle): Promise<void> {
    if (this.stopping) throw new Error('The transport is stopped: it takes no bundle.');
    // A command would wait until Redis is back, and the lease run out meanwhile, again and again.
    if (!this.watch.usable) throw new Error('Redis does not answer: no bundle is handed to it.');
    const data = this.seal.close(printBundle({ ...bundle, workspace: this.workspace.fingerprint }));
    await this.queue(bundle).add('bundle', data, { jobId: jobId(bundle) });
  }

  async cancel(plan_id: string, leases: readonly (LeaseRef & WorkerNeeds)[]): Promise<void> {
    await this.redis.set(cancelKey(plan_id), '1', 'EX', cancelled_ttl_s);
    await this.redis.publish(cancel_channel, plan_id);
    // A worker has the ones that cannot be removed, and ends them.
    await Promise.all(leases.map((lease) => this.queue(lease).remove(jobId(lease))));
  }

  async missing(leases: readonly (LeaseRef & WorkerNeeds)[]): Promise<readonly LeaseRef[]> {
    if (!this.watch.usable) return [];
    const states = await Promise.all(leases.map((lease) => this.queue(lease).getJobState(jobId(lease))));
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
    return this.watch.problems();
  }

  async stop(): Promise<void> {
    this.stopping = true;
    this.watch.stop();
    this.reading.disconnect();
    // With Redis away, commands that wait for its return do so for ever.
    const limit = sleep(stop_max_ms, false, { ref: false });
    const read = await Promise.race([this.reader?.stop().then(() => true), limit]);
    if (read === false)
      this.options.log(`Redis did not answer within ${stop_max_ms} ms: reports are read again later.`);
    this.queueing.disconnect();
    this.redis.disconnect();
  }

  /** Workers that can be reached and meet the needs. */
  private fit({ executor, executor_version, reads_files }: WorkerNeeds): readonly WorkerCard[] {
    return this.watch.workers.filter(
      (worker) =>
        worker.executors[executor] === executor_version &&
        worker.key_id === this.seal.key_id &&
        (!reads_files || this.hasWorkspace(worker)),
    );
  }

  private hasWorkspace(worker: WorkerCard): boolean {
    return this.workspace.error === null && worker.workspace === this.workspace.fingerprint;
  }

  private take(sink: TransportSink, report: Report): Promise<void> {
    if (report.type === 'outcomes') return sink.outcomes(report);
    if (report.type === 'started') sink.started(report);
    else if (report.type === 'heartbeat') sink.heartbeat(report);
    else if (report.type === 'refused') sink.refused(report);
    else if (report.type === 'lost') sink.lost(report);
    return Promise.resolve();
  }

  private queue({ executor, executor_version }: WorkerNeeds): Queue {
    const name = queueName(executor, executor_version, this.seal.key_id);
    let queue = this.queues.get(name);
    if (queue === undefined) {
      queue = new Queue(name, {
        connection: this.queueing,
        prefix: queue_prefix,
        // Nobody listens to BullMQ's own events: reports say what happened.
        streams: { events: { maxLen: 0 } },
        // A job that ended is of no use, however it ended: the store knows, and dispatches again what it misses.
        defaultJobOptions: { removeOnComplete: true, removeOnFail: true, attempts: 1 },
      });
      queue.on('error', (error) => this.complain(error));
      this.queues.set(name, queue);
    }
    return queue;
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
    if (!this.stopping) this.watch.complain(error);
  }
}

function namesOf(workers: readonly WorkerCard[]): string {
  return workers.map(({ id }) => id).join(', ');
}
