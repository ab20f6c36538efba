import { canonicalJson, isDigest } from '#truth';
import type { ArtifactRef, ArtifactStore } from './artifact-store.js';
import type { StageOutput } from './contract.js';
import { parseOutcomes } from './outcome-lines.js';
import type { Outcome } from './transport.js';

/** Longest value of a result, in bytes of canonical JSON text. */
export const value_bytes_max = 65_536;
/** Longest code and message of a failure, in UTF-16 units. */
export const code_chars_max = 64;
export const message_chars_max = 1_000;

/**
 * What is wrong with an outcome as a worker sent it, or null. A worker may be broken, or its message tampered with on the
 * way: texts are bounded, values are JSON, digests are digests, and artifacts must be there.
 */
function faultOf(
  outcome: Outcome,
  artifacts: Pick<ArtifactStore, 'size'>,
): string | null | Promise<string | null> {
  if (outcome.status === 'failed') return failureFault(outcome);
  // A text has at least a third as many characters as bytes: most need not be measured.
  if (outcome.value.length > value_bytes_max / 3 && Buffer.byteLength(outcome.value) > value_bytes_max)
    return `The value is longer than ${value_bytes_max} bytes.`;
  if (!isJson(outcome.value)) return 'The value is not JSON.';
  if (outcome.digest !== null && !isDigest(outcome.digest)) return 'The digest is not 64 hex digits.';
  return outcome.artifacts.length === 0 ? null : artifactFault(outcome.artifacts, artifacts);
}

function failureFault({ code, message }: Extract<Outcome, { status: 'failed' }>): string | null {
  if (code.length > code_chars_max) return `The code is longer than ${code_chars_max} characters.`;
  if (message.length > message_chars_max)
    return `The message is longer than ${message_chars_max} characters.`;
  return code.isWellFormed() && message.isWellFormed() ? null : 'The code or the message is no Unicode text.';
}

/**
 * JSON (RFC 8259) as most values are: a literal, an integer, a string without escapes, or a flat object of these. JSON.parse
 * would take four times as long to say so, and what it makes would be thrown away.
 */
const plain_json = ((): RegExp => {
  const string = '"[^"\\\\\\u0000-\\u001f]*"';
  const scalar = `(?:${string}|-?(?:0|[1-9][0-9]*)|true|false|null)`;
  return new RegExp(`^(?:${scalar}|\\{(?:${string}:${scalar}(?:,${string}:${scalar})*)?\\})$`);
})();
const plain_chars_max = 1_024;

function isJson(text: string): boolean {
  if (text.length <= plain_chars_max && plain_json.test(text)) return true;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

async function artifactFault(
  refs: readonly ArtifactRef[],
  artifacts: Pick<ArtifactStore, 'size'>,
): Promise<string | null> {
  for (const { digest, bytes } of refs) {
    if (!isDigest(digest)) return "An artifact's digest is not 64 hex digits.";
    const stored = await artifacts.size(digest);
    if (stored === null) return `Artifact ${digest} is not in the store.`;
    if (stored !== bytes) return `Artifact ${digest} is ${stored} bytes, not ${bytes}.`;
  }
  return null;
}

/** The outcomes of a report; null when the text is not what a worker writes. */
function readOutcomes(text: string): Outcome[] | null {
  try {
    return parseOutcomes(text);
  } catch {
    return null;
  }
}

/** The shards that a report speaks of which cannot be read: all of the lease when it says nothing of that. */
function shardsOf(unreadable: string, leased: ReadonlySet<number>): Iterable<number> {
  const named = Array.from(unreadable.matchAll(/^(\d+)\t/gm), ([, ordinal]) => Number(ordinal));
  const own = new Set(named.filter((ordinal) => leased.has(ordinal)));
  return own.size > 0 ? own : leased;
}

/** An outcome that is not what it should be. */
export interface Rejection {
  readonly ordinal: number;
  readonly message: string;
}

/**
 * Reads and checks what a worker reports of its lease. Outcomes that are not what they should be become failures of their
 * shards; those of shards that are not leased are left out. A report that cannot be read fails the shards that it names, or
 * the whole lease when it names none; these failures come last, so that what other reports say of the shards goes before.
 */
export async function checkReports(
  reports: readonly string[],
  leased: ReadonlySet<number>,
  artifacts: Pick<ArtifactStore, 'size'>,
): Promise<{ readonly outcomes: Outcome[]; readonly rejections: Rejection[] }> {
  const outcomes: Outcome[] = [];
  const rejections: Rejection[] = [];
  const unreadable: Outcome[] = [];
  for (const report of reports) {
    const read = readOutcomes(report);
    if (read === null) {
      const message = 'The report is not a list of outcomes.';
      const failures = Array.from(shardsOf(report, leased), (ordinal) => rejected(ordinal, message, 0));
      unreadable.push(...failures);
      rejections.push(...failures.slice(0, 1).map(({ ordinal }) => ({ ordinal, message })));
      continue;
    }
    for (const outcome of read) {
      const { ordinal, duration_ms } = outcome;
      const known = leased.has(ordinal);
      const fault = known ? faultOf(outcome, artifacts) : `Shard ${ordinal} is not part of the lease.`;
      const message = fault instanceof Promise ? await fault : fault;
      if (message === null) {
        outcomes.push(outcome);
        continue;
      }
      rejections.push({ ordinal, message });
      if (known) outcomes.push(rejected(ordinal, message, duration_ms));
    }
  }
  return { outcomes: outcomes.concat(unreadable), rejections };
}

function rejected(ordinal: number, message: string, duration_ms: number): Outcome {
  return { ordinal, status: 'failed', verdict: 'retry', code: 'RESULT_REJECTED', message, duration_ms };
}

/**
 * A collector's outcome, made a failure when it is not what it should be; undefined when it reported none. Its value is
 * the StageOutput.
 */
export async function checkedCollection(
  reports: readonly string[],
  artifacts: Pick<ArtifactStore, 'size'>,
): Promise<Outcome | undefined> {
  const [outcome] = (await checkReports(reports, new Set([0]), artifacts)).outcomes;
  if (outcome?.status !== 'done' || isStageOutputOf(outcome)) return outcome;
  return rejected(0, 'The value is not the output of a stage.', outcome.duration_ms);
}

/** Does the value say what the outcome says, so that what is stored is what was checked? */
function isStageOutputOf({ value, digest, artifacts }: Extract<Outcome, { status: 'done' }>): boolean {
  try {
    const output = JSON.parse(value) as StageOutput;
    const named = output.artifacts.map(({ digest, bytes }) => ({ digest, bytes }));
    const names = output.artifacts.every(({ name }) => typeof name === 'string');
    const canonical = canonicalJson(output) === value;
    const agrees = output.digest === digest && canonicalJson(named) === canonicalJson(artifacts);
    return canonical && names && agrees && output.value !== undefined;
  } catch {
    return false; // Not JSON, or of another shape.
  }
}
