import type { Digest, Json } from '#truth';
import type { ConfigFields, RawConfig } from '../plan/stage-config.js';
import type { ArtifactRef, ArtifactStore } from './artifact-store.js';
import type { Cache } from './cache.js';
import type { HttpClient } from './http-client.js';
import type { Targets } from './targets.js';
import type { Workspace } from './workspace.js';

/** One unit of work as its executor sees it. */
export interface Shard<Inputs> {
  /** Position in its stage, from 0. */
  readonly ordinal: number;
  readonly inputs: Inputs;
  /** SHA-256 of each piece of content that the shard reads, in the order that its partitioner documents. */
  readonly input_digests: readonly Digest[];
  /** Which lease of the shard this is, from 1. Effects outside HXO may use it as a fencing token. */
  readonly attempt: number;
}

/** What an executor may use. It gets nothing else: no database of HXO's, no queue, no settings, no network but these. */
export interface ExecutorContext {
  readonly artifacts: ArtifactStore;
  readonly workspace: Workspace;
  readonly cache: Cache;
  readonly http: HttpClient;
  /** The databases that plans may name. Left out where there can be none. */
  readonly targets?: Targets;
  /** Aborted at the shard's timeout, at the plan's abort, and when the worker must stop. */
  readonly signal: AbortSignal;
  log(message: string): void;
}

/** What a shard came to. */
export interface ShardOutput {
  /** Small JSON (64 KiB at most as canonical text), stored with the result. */
  readonly value: Json;
  /**
   * What the Merkle leaf commits to. Left out, it is the SHA-256 of `value`'s canonical JSON; given, it is the digest of
   * content that `artifacts` hold, in a form that depends on nothing but the inputs.
   */
  readonly digest?: Digest;
  /** Artifacts that this result needs to be worth anything. They are durable before `run` resolves. */
  readonly artifacts?: readonly ArtifactRef[];
}

/** One finished shard, as a collector reads it. */
export interface CollectedShard {
  readonly ordinal: number;
  readonly inputs: Json;
  readonly input_digests: readonly Digest[];
  readonly digest: Digest;
  readonly value: Json;
}

/** A named artifact of a stage. */
export interface StageArtifact extends ArtifactRef {
  readonly name: string;
}

/** What a stage came to: its output is a leaf of the plan's tree, its artifacts are subjects of the certificate. */
export interface StageOutput {
  /** Depends on nothing but the shards' outputs. */
  readonly digest: Digest;
  readonly value: Json;
  readonly artifacts: readonly StageArtifact[];
}

/**
 * An executor: the code that does a shard's work. A plain object; see docs/HXO_BLUEPRINT_CONTRACT.md.
 *
 * Shards run at least once: running one twice must leave the same effect as running it once.
 */
export interface Executor<Inputs = unknown> {
  readonly name: string;
  /** Part of every content id: raise it when the same inputs may give another output. */
  readonly version: string;
  /** Job kinds that may use it. */
  readonly kinds: readonly string[];
  /** May a result be reused by another plan with the same content id? False for anything with effects outside HXO. */
  readonly cacheable: boolean;
  /** Do equal inputs always give an equal digest? */
  readonly deterministic: boolean;
  /** `cpu` shards run one at a time per worker slot; `io` shards spend their time waiting and share one. */
  readonly load: 'cpu' | 'io';
  /**
   * `thread` when all its work is JavaScript, which a terminated thread stops. `process` when it calls native code
   * (zlib, SQLite, image decoding), which only SIGKILL stops.
   */
  readonly isolation: 'thread' | 'process';
  /** Does it read files of the workspace? Its shards then go only to workers that have the same one. Left out: yes. */
  readonly reads_files?: boolean;
  /**
   * The fields of a stage's config that are its own. They are checked when a plan is submitted, and each shard has the
   * parsed values, defaults filled in, as `options` of its inputs: they are part of its content id.
   */
  readonly options?: ConfigFields<Readonly<Record<string, Json>>>;
  /**
   * Refuses options that do not go together, or with the partitioner's part of the config. Throws ConfigError.
   * @param options parsed
   * @param config the stage's whole config as it stands in the plan
   */
  checkOptions?(options: Readonly<Record<string, Json>>, config: RawConfig): void;
  /** Checks a shard's inputs. Throws {@link FailShard} when they are not of its shape. */
  parse(inputs: Json): Inputs;
  /** Does the work. Throws {@link RetryShard}, {@link FailShard} or {@link HaltWorker}; anything else counts as a retry. */
  run(shard: Shard<Inputs>, context: ExecutorContext): Promise<ShardOutput>;
  /** Folds a stage's results, in ordinal order, into the stage's output. Deterministic; runs leased, like a shard. */
  collect?(results: AsyncIterable<CollectedShard>, context: ExecutorContext): Promise<StageOutput>;
}

/** What the engine does next after an error. */
export type FailureVerdict = 'retry' | 'fail' | 'halt';

/** An error whose type says what the engine does next. `code` is stable, upper case, shown to users. */
export abstract class ExecutorError extends Error {
  abstract readonly verdict: FailureVerdict;
  constructor(
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Thrown when the same shard may well succeed later: it is retried with back-off, up to its stage's `max_failures`. */
export class RetryShard extends ExecutorError {
  override readonly name = 'RetryShard';
  readonly verdict = 'retry';
}

/** Thrown when retrying cannot help (bad input, a file that changed): the shard fails at once. */
export class FailShard extends ExecutorError {
  override readonly name = 'FailShard';
  readonly verdict = 'fail';
}

/** Thrown when this worker cannot be trusted with any shard (disk full, broken install): it is replaced, the shard goes on elsewhere. */
export class HaltWorker extends ExecutorError {
  override readonly name = 'HaltWorker';
  readonly verdict = 'halt';
}
