import { setImmediate } from 'node:timers/promises';
import { canonicalJson, sha256, type Json } from '#truth';
import {
  printOutcomes,
  type Bundle,
  type LeaseRef,
  type Outcome,
  type Transport,
  type TransportSink,
  type WorkerNeeds,
} from '#hxo';

/** What a worker does with a bundle: reports outcomes, loses it, or sits on it. */
export type Work = (bundle: Bundle, worker: FakeWorker) => Promise<void>;

/** The side of a worker that has taken a bundle. */
export class FakeWorker {
  constructor(
    private readonly sink: TransportSink,
    readonly lease: LeaseRef,
  ) {}

  report(outcomes: readonly Outcome[], final: boolean, attempt = this.lease.attempt): Promise<void> {
    return this.tell(printOutcomes(outcomes), final, attempt);
  }

  /** Reports a text, whatever it is. */
  tell(outcomes: string, final: boolean, attempt = this.lease.attempt): Promise<void> {
    return this.sink.outcomes({ ...this.lease, attempt, worker: 'fake-1', outcomes, final });
  }

  refuse(): void {
    this.sink.refused({ ...this.lease, reason: 'fake-1 has another workspace' });
  }

  die(): void {
    this.sink.lost({ ...this.lease, reason: 'killed' });
  }
}

/** Carries bundles inside the process, and watches how many shards may be executing at once. */
export class FakeTransport implements Transport {
  /** Refuses every bundle while it is set. */
  refusal: Error | null = null;
  /** What it says keeps shards from being executed. */
  obstacle_text: string | null = null;
  /** Bundles, by number, that it says it no longer carries. */
  readonly vanished = new Set<number>();
  /** Executors that no worker offers any more. */
  readonly slotless = new Set<string>();
  /** Never ends a `cancel` while it is set, as when Redis is away. */
  cancel_hangs = false;
  /** How often it was asked what is missing. */
  asked = 0;
  readonly bundles: Bundle[] = [];
  readonly cancelled: string[] = [];
  /** Most shards and collectors that were executing at once. */
  peak = 0;
  private readonly executing = new Set<Bundle>();
  private sink!: TransportSink;
  private readonly working = new Set<Promise<void>>();

  constructor(
    public size: number,
    public work: Work,
    /** Says that its bundles outlive the process: what a new one knows of them is up to the spec. */
    readonly durable = false,
  ) {}

  slots({ executor }: WorkerNeeds): number {
    return this.slotless.has(executor) ? 0 : this.size;
  }

  lanes(): number {
    return 64;
  }

  obstacle(): string | null {
    return this.obstacle_text;
  }

  async missing(leases: readonly LeaseRef[]): Promise<readonly LeaseRef[]> {
    this.asked++;
    return leases.filter(({ bundle }) => this.vanished.has(bundle));
  }

  async problems(): Promise<readonly string[]> {
    return [];
  }

  async start(sink: TransportSink): Promise<void> {
    this.sink = sink;
  }

  async dispatch(bundle: Bundle): Promise<void> {
    if (this.refusal !== null) throw this.refusal;
    this.bundles.push(bundle);
    this.executing.add(bundle);
    // Bundles beyond the slots wait in a real transport.
    const running = [...this.executing].slice(0, this.size);
    this.peak = Math.max(
      this.peak,
      running.reduce((sum, { concurrency }) => sum + concurrency, 0),
    );
    const working = this.perform(bundle).finally(() => this.working.delete(working));
    this.working.add(working);
  }

  async cancel(plan_id: string): Promise<void> {
    this.cancelled.push(plan_id);
    if (this.cancel_hangs) await new Promise(() => {});
  }

  async stop(): Promise<void> {
    await Promise.all(this.working);
  }

  /** Changes the number of slots, as workers come and go. */
  resize(size: number): void {
    this.size = size;
    this.sink.changed();
  }

  heartbeat(bundle: Bundle): void {
    this.sink.heartbeat(this.workerOf(bundle).lease);
  }

  /** The side of the worker that has this bundle. */
  workerOf(bundle: Bundle): FakeWorker {
    const { plan_id, attempt } = bundle;
    return new FakeWorker(this.sink, { plan_id, bundle: bundle.bundle, attempt });
  }

  private async perform(bundle: Bundle): Promise<void> {
    const worker = this.workerOf(bundle);
    await setImmediate();
    this.sink.started({ ...worker.lease, worker: 'fake-1' });
    // The place is free as soon as the last report is on its way.
    const ended = new FakeWorker(
      {
        started: (at) => this.sink.started(at),
        heartbeat: (at) => this.sink.heartbeat(at),
        outcomes: (batch) => {
          if (batch.final) this.executing.delete(bundle);
          return this.sink.outcomes(batch);
        },
        changed: () => this.sink.changed(),
        refused: (at) => {
          this.executing.delete(bundle);
          this.sink.refused(at);
        },
        lost: (at) => {
          this.executing.delete(bundle);
          this.sink.lost(at);
        },
      },
      worker.lease,
    );
    await this.work(bundle, ended);
  }
}

/** Ordinals of a bundle of shards; none of a collector's. */
export function ordinalsOf({ work }: Bundle): readonly number[] {
  return work.type === 'shards' ? work.ordinals : [];
}

export function done(
  ordinal: number,
  value: Json = { shard: ordinal },
): Extract<Outcome, { status: 'done' }> {
  const text = canonicalJson(value);
  const outcome = { ordinal, status: 'done', digest: null, value: text } as const;
  return { ...outcome, artifacts: [], duration_ms: 1.5 };
}

export function failed(ordinal: number, verdict: 'retry' | 'fail' | 'halt', code = 'BROKEN'): Outcome {
  return { ordinal, status: 'failed', verdict, code, message: `shard ${ordinal}`, duration_ms: 0.5 };
}

/** Does everything at once, and folds results into an output that hangs on nothing but the stage. */
export const succeed: Work = (bundle, worker) => {
  if (bundle.work.type === 'collect') return worker.report([collected(bundle)], true);
  return worker.report(
    ordinalsOf(bundle).map((ordinal) => done(ordinal)),
    true,
  );
};

export function collected(bundle: Bundle): Outcome {
  const digest = sha256(bundle.stage);
  const output = { digest, value: { of: bundle.stage }, artifacts: [] };
  return { ...done(0, output), digest };
}
