import { canonicalJson, isDigest, sha256 } from '#truth';
import type { ArtifactStore } from './artifact-store.js';
import type { StageOutput } from './contract.js';
import type { Outcome } from './transport.js';

/** Longest value of a result, in bytes of canonical JSON text. */
export const value_bytes_max = 65_536;

/**
 * What is wrong with an outcome as a worker sent it, or null. A worker may be broken, or its message tampered with on the
 * way: the digest must be that of the value unless the executor declares its own, and artifacts must be there.
 *
 * @param expected ordinals that the lease holds
 */
export async function checkOutcome(
  outcome: Outcome,
  expected: { has(ordinal: number): boolean },
  artifacts: Pick<ArtifactStore, 'size'>,
): Promise<string | null> {
  if (!expected.has(outcome.ordinal)) return `Shard ${outcome.ordinal} is not part of the lease.`;
  if (outcome.status === 'failed') return null;
  if (Buffer.byteLength(outcome.value) > value_bytes_max)
    return `The value is longer than ${value_bytes_max} bytes.`;
  if (!isDigest(outcome.digest)) return 'The digest is not 64 hex digits.';
  if (!outcome.declared && sha256(outcome.value) !== outcome.digest)
    return 'The digest is not that of the value.';
  for (const artifact of outcome.artifacts) {
    const bytes = isDigest(artifact.digest) ? await artifacts.size(artifact.digest) : null;
    if (bytes === null) return `Artifact ${artifact.digest} is not in the store.`;
    if (bytes !== artifact.bytes)
      return `Artifact ${artifact.digest} is ${bytes} bytes, not ${artifact.bytes}.`;
  }
  return null;
}

/** An outcome that is not what it should be. */
export interface Rejection {
  readonly ordinal: number;
  readonly message: string;
}

/**
 * Checks what a worker reports of its lease. Outcomes that are not what they should be become failures of their shards;
 * those of shards that are not leased are left out.
 */
export async function checkBatch(
  outcomes: readonly Outcome[],
  leased: ReadonlySet<number>,
  artifacts: Pick<ArtifactStore, 'size'>,
): Promise<{ readonly outcomes: Outcome[]; readonly rejections: Rejection[] }> {
  const checked: Outcome[] = [];
  const rejections: Rejection[] = [];
  for (const outcome of outcomes) {
    const message = await checkOutcome(outcome, leased, artifacts);
    if (message === null) {
      checked.push(outcome);
      continue;
    }
    const { ordinal, duration_ms } = outcome;
    rejections.push({ ordinal, message });
    if (!leased.has(ordinal)) continue;
    const code = 'RESULT_REJECTED';
    checked.push({ ordinal, status: 'failed', verdict: 'retry', code, message, duration_ms });
  }
  return { outcomes: checked, rejections };
}

/** A collector's outcome, made a failure when it is not what it should be. Its value is the StageOutput. */
export async function checkedCollection(
  outcome: Outcome,
  artifacts: Pick<ArtifactStore, 'size'>,
): Promise<Outcome> {
  const message =
    (await checkOutcome(outcome, { has: (ordinal) => ordinal === 0 }, artifacts)) ??
    (outcome.status === 'done' && !isStageOutputOf(outcome)
      ? 'The value is not the output of a stage.'
      : null);
  if (message === null) return outcome;
  const { ordinal, duration_ms } = outcome;
  return { ordinal, status: 'failed', verdict: 'retry', code: 'RESULT_REJECTED', message, duration_ms };
}

/** Does the value say what the outcome says, so that what is stored is what was checked? */
function isStageOutputOf({ value, digest, artifacts }: Extract<Outcome, { status: 'done' }>): boolean {
  try {
    const output = JSON.parse(value) as StageOutput;
    const named = output.artifacts.map(({ digest, bytes }) => ({ digest, bytes }));
    const names = output.artifacts.every(({ name }) => typeof name === 'string');
    const agrees = output.digest === digest && canonicalJson(named) === canonicalJson(artifacts);
    return names && agrees && output.value !== undefined;
  } catch {
    return false; // Not JSON, or of another shape.
  }
}
