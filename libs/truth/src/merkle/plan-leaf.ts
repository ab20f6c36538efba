import { hash } from 'node:crypto';
import { NotCanonicalError } from '../canonical-json.js';
import type { Digest } from '../digest.js';

/** How a shard ended. A reused shard is done. */
export type LeafStatus = 'done' | 'failed' | 'skipped';

/** What the plan's tree says of one shard, or of a stage's output. */
export interface PlanLeaf {
  /** The shard's content id; null for the output of a stage. */
  readonly cas: Digest | null;
  readonly executor: string;
  /** The shard's position in its stage, from 0; null for the output of a stage. */
  readonly ordinal: number | null;
  /** Digest of what came out; null when nothing did. */
  readonly output: Digest | null;
  /** Id of the stage. */
  readonly stage: string;
  readonly status: LeafStatus;
}

/**
 * The leaf hash of a shard or stage output, 32 bytes:
 * SHA-256(0x00 ‖ JCS({cas, executor, ordinal, output, stage, status, v: 1})).
 *
 * It holds no attempt, time, error text or plan id: the same final shards give the same root, crash or no crash.
 *
 * Throws {@link NotCanonicalError} when a name has a lone surrogate or the ordinal is no whole number from 0.
 */
export function planLeaf(leaf: PlanLeaf): Buffer {
  // Twice as fast as asking for a buffer, which Node allocates outside its heap one by one.
  return Buffer.from(hash('sha256', '\0' + planLeafText(leaf), 'hex'), 'hex');
}

/**
 * {@link planLeaf} for all shards of a stage, 32 characters that stand for a byte each: quicker to make and to store than a
 * buffer. What is the same for each leaf is printed once.
 */
export function shardLeafHasher(
  executor: string,
  stage: string,
): (cas: string, ordinal: number, output: string | null, status: LeafStatus) => string {
  const before_ordinal = `,"executor":${quoteName(executor)},"ordinal":`;
  const before_status = `,"stage":${quoteName(stage)},"status":"`;
  return (cas, ordinal, output, status) => {
    const quoted = output === null ? 'null' : `"${output}"`;
    const text = `\0{"cas":"${cas}"${before_ordinal}${ordinal},"output":${quoted}${before_status}${status}","v":1}`;
    return hash('sha256', text, 'binary');
  };
}

/** The canonical JSON of a leaf. Written out key by key, because a plan hashes up to a million of them. */
export function planLeafText(leaf: PlanLeaf): string {
  const { cas, executor, ordinal, output, stage, status } = leaf;
  if (ordinal !== null && !(Number.isSafeInteger(ordinal) && ordinal >= 0)) {
    throw new NotCanonicalError(`A leaf's ordinal is a whole number from 0, not ${ordinal}.`);
  }
  return (
    `{"cas":${quoteDigest(cas)},"executor":${quoteName(executor)},"ordinal":${ordinal},` +
    `"output":${quoteDigest(output)},"stage":${quoteName(stage)},"status":"${status}","v":1}`
  );
}

function quoteDigest(digest: Digest | null): string {
  return digest === null ? 'null' : `"${digest}"`;
}

function quoteName(name: string): string {
  if (!name.isWellFormed())
    throw new NotCanonicalError(`The name ${JSON.stringify(name)} holds a lone surrogate.`);
  return JSON.stringify(name);
}
