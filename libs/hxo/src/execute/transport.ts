import type { Digest } from '#truth';
import type { ArtifactRef } from './artifact-store.js';
import type { FailureVerdict } from './contract.js';

/** Which lease a bundle is, and a message from a worker speaks of. */
export interface LeaseRef {
  readonly plan_id: string;
  /** Number of the bundle in its plan, from 1, never used twice. */
  readonly bundle: number;
  /** The fencing token, the same for every shard of the bundle. */
  readonly attempt: number;
}

/** What bundles ask of their worker. */
export interface WorkerNeeds {
  readonly executor: string;
  readonly executor_version: string;
  /** Files of the workspace that the plan was made of. */
  readonly reads_files: boolean;
}

/** Shards of one stage that are leased together. */
export interface Bundle extends LeaseRef, WorkerNeeds {
  readonly stage: string;
  readonly isolation: 'thread' | 'process';
  /** Shards of the bundle that may run at the same time in the worker (1 for `cpu` executors). */
  readonly concurrency: number;
  /** Bundles of this stage would only wait for each other: better all to one worker. Left out: false. */
  readonly one_by_one?: boolean;
  /** Limit of one shard, in milliseconds; 0 is no limit. */
  readonly shard_timeout_ms: number;
  readonly work:
    /** `lines` defines the shards in the order of their ordinals, one a line, as the checkpoint store holds them. */
    | { readonly type: 'shards'; readonly ordinals: readonly number[]; readonly lines: string }
    /** `results` is an artifact of JSON lines, each a CollectedShard, in ordinal order. */
    | { readonly type: 'collect'; readonly results: Digest };
}

/** One shard's end, as a worker reports it. A collect bundle reports ordinal 0 with the StageOutput as its value. */
export type Outcome =
  | {
      readonly ordinal: number;
      readonly status: 'done';
      /** The digest that the executor gave; null when it is the SHA-256 of `value`. */
      readonly digest: Digest | null;
      /** Canonical JSON text; stored as it is. */
      readonly value: string;
      readonly artifacts: readonly ArtifactRef[];
      readonly duration_ms: number;
    }
  | {
      readonly ordinal: number;
      readonly status: 'failed';
      readonly verdict: FailureVerdict;
      readonly code: string;
      readonly message: string;
      readonly duration_ms: number;
    };

export interface OutcomeBatch extends LeaseRef {
  /** Name of the worker, for people: `thread-1`, `process-2@host`. */
  readonly worker: string;
  /**
   * The {@link Outcome}s as printOutcomes prints them: read where they are accepted, and by nobody on the way.
   */
  readonly outcomes: string;
  /** True on the bundle's last batch: shards never reported by then were not executed, and are free again. */
  readonly final: boolean;
}

/** What the engine offers a transport. */
export interface TransportSink {
  /** A worker has begun the bundle. */
  started(lease: LeaseRef & { readonly worker: string }): void;
  /** A worker still has the bundle. At most every 10 s. */
  heartbeat(lease: LeaseRef): void;
  /**
   * Outcomes of a bundle; may come more than once, late, or twice. Resolves only after they are committed (or rejected
   * for good): the transport acknowledges then, not before.
   */
  outcomes(batch: OutcomeBatch): Promise<void>;
  /** A worker did not take the bundle, and has executed nothing of it: its shards are free again, at no charge. */
  refused(lease: LeaseRef & { readonly reason: string }): void;
  /** The worker of the bundle is gone; what it had not reported will not come. */
  lost(lease: LeaseRef & { readonly reason: string }): void;
  /** Slots may have changed: there may be room for more bundles. */
  changed(): void;
}

/** Carries bundles to workers and outcomes back. The engine never knows which one it has. */
export interface Transport {
  /** Bundles that workers which meet the needs can execute at once now: what the dispatch window is sized by. */
  slots(needs: WorkerNeeds): number;
  /** Shards of an `io` bundle that a worker executes together in one of these slots, at least 1. */
  lanes(needs: WorkerNeeds): number;
  /** What keeps bundles with such needs from being executed at all, in words (`a worker that …`); null when nothing does. */
  obstacle(needs: WorkerNeeds): string | null;
  /**
   * Do bundles outlive this process? False: after a restart every earlier lease is over at once.
   * True: it gets one fresh term.
   */
  readonly durable: boolean;
  start(sink: TransportSink): Promise<void>;
  /**
   * Takes a bundle. Never blocks on the work itself. Throws when it cannot take the bundle, which is then nowhere; the
   * engine tries again later.
   */
  dispatch(bundle: Bundle): Promise<void>;
  /**
   * Which of these leases it no longer carries, although everything that workers have reported so far was delivered. Bundles
   * that wait for a worker get a heartbeat. Asked every few seconds; a lease that is missing twice running is lost.
   */
  missing(leases: readonly (LeaseRef & WorkerNeeds)[]): Promise<readonly LeaseRef[]>;
  /** What keeps it from working, in words; empty when nothing does. */
  problems(): Promise<readonly string[]>;
  /** Takes a plan's bundles back, and tells workers to stop what they do for it. Late outcomes may still come. */
  cancel(plan_id: string, leases: readonly (LeaseRef & WorkerNeeds)[]): Promise<void>;
  /** Lets what runs go on for at most `grace_ms`, then stops everything. No thread or process is left behind. */
  stop(grace_ms: number): Promise<void>;
}
