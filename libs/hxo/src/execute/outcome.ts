import { canonicalJson, isDigest, NotCanonicalError, type Digest } from '#truth';
import type { ArtifactRef } from './artifact-store.js';
import { code_chars_max, message_chars_max, value_bytes_max } from './check-outcome.js';
import { FailShard, type FailureVerdict, type ShardOutput, type StageOutput } from './contract.js';
import type { Bundle, Outcome } from './transport.js';

/** What executors return and throw, checked and made into outcomes. */

/** Code of a full disk (errno of POSIX). It says nothing about the shard: any other would have met it as well. */
export const disk_full = 'ENOSPC';
const digest_form = '64 lower-case hex digits';
const no_artifacts: readonly ArtifactRef[] = [];

/**
 * The outcome of a shard, or of a collector, that ran past its limit.
 * @param ended_by_force it did not mind its signal
 */
export function pastLimit(
  { work, shard_timeout_ms: limit_ms }: Pick<Bundle, 'work' | 'shard_timeout_ms'>,
  ordinal: number,
  duration_ms: number,
  ended_by_force = false,
): Outcome {
  const collects = work.type === 'collect';
  const force = ended_by_force ? ' and did not mind its signal: its worker was ended' : '';
  const advice = collects
    ? `Raise the stage's shard_timeout_ms above ${limit_ms}: a collector gets at least 10 minutes, and more when shards do.`
    : 'Make shards smaller, or raise shard_timeout_ms.';
  return {
    ordinal,
    status: 'failed',
    verdict: 'retry',
    code: collects ? 'COLLECT_TIMEOUT' : 'SHARD_TIMEOUT',
    message: `The ${collects ? 'collector' : 'shard'} ran past its limit of ${limit_ms} ms${force}. ${advice}`,
    duration_ms,
  };
}

/** An executor's output that has passed every check. */
export interface Accepted {
  /** Null: the SHA-256 of `value`. */
  readonly digest: Digest | null;
  readonly value: string;
  readonly artifacts: readonly ArtifactRef[];
}

/** Why a shard failed, and what the engine does next. */
export interface Failure {
  readonly verdict: FailureVerdict;
  readonly code: string;
  readonly message: string;
}

/** Checks what `run` returned. Throws {@link FailShard}. */
export function acceptShard(output: ShardOutput): Accepted {
  if (typeof output !== 'object' || output === null) throw invalid('run() must return { value }.');
  const value = canonicalText(output.value);
  if (output.digest !== undefined && !isDigest(output.digest))
    throw invalid(`digest must be ${digest_form}.`);
  return {
    digest: output.digest ?? null,
    value,
    artifacts: output.artifacts === undefined ? no_artifacts : output.artifacts.map(acceptArtifact),
  };
}

/** Checks what `collect` returned; the whole of it becomes the outcome's value. Throws {@link FailShard}. */
export function acceptStage(output: StageOutput): Accepted {
  if (!isDigest(output.digest)) throw invalid(`collect() must return a digest of ${digest_form}.`);
  const artifacts = output.artifacts.map(acceptArtifact);
  const named = artifacts.map((artifact, i) => ({ name: output.artifacts[i]!.name, ...artifact }));
  const { digest, value } = output;
  if (value === undefined) throw invalid('collect() must return a value.');
  const text = canonicalText({ digest, value, artifacts: named });
  return { digest, value: text, artifacts };
}

function acceptArtifact({ digest, bytes }: ArtifactRef): ArtifactRef {
  if (!isDigest(digest)) throw invalid(`an artifact's digest must be ${digest_form}.`);
  if (!Number.isSafeInteger(bytes) || bytes < 0) throw invalid("an artifact's bytes must be a whole number.");
  return { digest, bytes };
}

function canonicalText(value: unknown): string {
  const text = canonicalOrInvalid(value);
  // A UTF-16 unit is at most three bytes of UTF-8: short texts need no counting.
  if (text.length * 3 > value_bytes_max && Buffer.byteLength(text) > value_bytes_max) {
    throw invalid(
      `it has ${Buffer.byteLength(text)} bytes as JSON, ${value_bytes_max} are allowed. Put it into an artifact.`,
    );
  }
  return text;
}

function canonicalOrInvalid(value: unknown): string {
  try {
    return canonicalJson(value);
  } catch (error) {
    throw error instanceof NotCanonicalError ? invalid(error.message) : error;
  }
}

/** The executor broke its contract; running it again would break it again. */
function invalid(what: string): FailShard {
  return new FailShard('INVALID_OUTPUT', `The executor's output is not valid: ${what}`);
}

/** The outcome of a shard that is done. */
export function done(ordinal: number, accepted: Accepted, duration_ms: number): Outcome {
  const { digest, value, artifacts } = accepted;
  return { ordinal, status: 'done', digest, value, artifacts, duration_ms };
}

/** The outcome of a shard that failed. */
export function failed(ordinal: number, { verdict, code, message }: Failure, duration_ms: number): Outcome {
  return { ordinal, status: 'failed', verdict, code, message, duration_ms };
}

/** What an error means. Executor errors are told by their shape: an executor of another package carries its own copy of the classes. */
export function failureOf(error: unknown): Failure {
  const { verdict, code, syscall, message } = (error ?? {}) as Record<string, unknown>;
  const text = typeof message === 'string' ? message : `The executor threw ${describe(error)}.`;
  const failure = (next: FailureVerdict, name: string): Failure => ({
    verdict: next,
    code: name.slice(0, code_chars_max).toWellFormed(),
    message: text.slice(0, message_chars_max).toWellFormed(),
  });
  if (typeof code === 'string') {
    if (verdict === 'retry' || verdict === 'fail' || verdict === 'halt') return failure(verdict, code);
    if (typeof syscall === 'string') return failure(code === disk_full ? 'halt' : 'retry', code);
  }
  return failure('retry', 'EXECUTOR_ERROR');
}

function describe(error: unknown): string {
  return typeof error === 'string' ? JSON.stringify(error) : `a value of type ${typeof error}, not an Error`;
}
