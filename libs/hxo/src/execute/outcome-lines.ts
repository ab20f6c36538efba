import type { ArtifactRef } from './artifact-store.js';
import type { Outcome } from './transport.js';

/**
 * Outcomes as text, one a line, fields between tabs: printed where shards run, read where they are accepted, carried
 * unread in between. Half as long as JSON, and quicker to read. JSON texts hold neither a raw tab nor a raw line feed.
 *
 *     ordinal  microseconds  done  digest or nothing  artifacts (JSON) or nothing  value (canonical JSON)
 *     ordinal  microseconds  retry|fail|halt  [code, message] (JSON)
 */
export function printOutcomes(outcomes: readonly Outcome[]): string {
  let text = '';
  for (const outcome of outcomes) {
    text += `${outcome.ordinal}\t${Math.round(outcome.duration_ms * 1_000)}\t`;
    if (outcome.status === 'done') {
      const { digest, artifacts, value } = outcome;
      text += `done\t${digest ?? ''}\t${artifacts.length === 0 ? '' : JSON.stringify(artifacts)}\t${value}\n`;
    } else text += `${outcome.verdict}\t${JSON.stringify([outcome.code, outcome.message])}\n`;
  }
  return text;
}

/**
 * Throws when the text has another form than {@link printOutcomes} gives it. How long fields are, which digests they name, and
 * whether a value is JSON is still to be checked.
 */
export function parseOutcomes(text: string): Outcome[] {
  const lines = text.split('\n');
  if (lines.pop() !== '') throw new SyntaxError('The last outcome is cut off.');
  return lines.map(parseOutcome);
}

function parseOutcome(line: string): Outcome {
  const fields = line.split('\t');
  const ordinal = parseWhole(fields[0]);
  const duration_ms = parseWhole(fields[1]) / 1_000;
  const status = fields[2];
  if (status === 'done' && fields.length === 6) {
    const digest = fields[3] === '' ? null : (fields[3] as Extract<Outcome, { status: 'done' }>['digest']);
    const artifacts = fields[4] === '' ? no_artifacts : parseArtifacts(fields[4]!);
    return { ordinal, status, digest, value: fields[5]!, artifacts, duration_ms };
  }
  if ((status === 'retry' || status === 'fail' || status === 'halt') && fields.length === 4) {
    const failure: unknown = JSON.parse(fields[3]!);
    if (!Array.isArray(failure) || failure.length !== 2)
      throw new SyntaxError('A failure without code or message.');
    const [code, message] = failure as readonly unknown[];
    if (typeof code !== 'string' || typeof message !== 'string')
      throw new SyntaxError('A failure whose code or message is no text.');
    return { ordinal, status: 'failed', verdict: status, code, message, duration_ms };
  }
  throw new SyntaxError('An outcome of no known kind.');
}

const no_artifacts: readonly ArtifactRef[] = [];

function parseWhole(field: string | undefined): number {
  const number = Number(field);
  if (field === undefined || !/^\d+$/.test(field) || !Number.isSafeInteger(number))
    throw new SyntaxError('An ordinal or duration is no whole number from 0.');
  return number;
}

function parseArtifacts(text: string): readonly ArtifactRef[] {
  const list: unknown = JSON.parse(text);
  if (!Array.isArray(list) || !list.every(isArtifactRef))
    throw new SyntaxError('Artifacts are a list of {digest, bytes}.');
  return list;
}

function isArtifactRef(item: unknown): item is ArtifactRef {
  if (typeof item !== 'object' || item === null || Object.keys(item).length !== 2) return false;
  const { digest, bytes } = item as Record<string, unknown>;
  return typeof digest === 'string' && Number.isSafeInteger(bytes) && (bytes as number) >= 0;
}
