import type { Digest } from '#truth';
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
  const outcomes: Outcome[] = [];
  for (let from = 0; from < text.length;) {
    const end = text.indexOf('\n', from);
    if (end === -1) throw new SyntaxError('The last outcome is cut off.');
    outcomes.push(parseOutcome(text, from, end));
    from = end + 1;
  }
  return outcomes;
}

const done_mark = 'done\t';
const no_artifacts: readonly ArtifactRef[] = [];

/** Reads the line of `text` from `from` to `end`, field by field where it stands: splitting it takes four times as long. */
function parseOutcome(text: string, from: number, end: number): Outcome {
  const ordinal_end = tabAfter(text, from, end);
  const ordinal = parseWhole(text, from, ordinal_end);
  const duration_end = tabAfter(text, ordinal_end + 1, end);
  const duration_ms = parseWhole(text, ordinal_end + 1, duration_end) / 1_000;
  const status_from = duration_end + 1;
  if (!text.startsWith(done_mark, status_from))
    return parseFailure(text.slice(status_from, end), ordinal, duration_ms);
  const digest_from = status_from + done_mark.length;
  const digest_end = tabAfter(text, digest_from, end);
  const artifacts_end = tabAfter(text, digest_end + 1, end);
  const value = text.slice(artifacts_end + 1, end);
  if (value.includes('\t')) throw new SyntaxError('An outcome with too many fields.');
  return {
    ordinal,
    status: 'done',
    digest: digest_end === digest_from ? null : (text.slice(digest_from, digest_end) as Digest),
    value,
    artifacts:
      artifacts_end === digest_end + 1
        ? no_artifacts
        : parseArtifacts(text.slice(digest_end + 1, artifacts_end)),
    duration_ms,
  };
}

/** Where the field that begins at `from` ends. */
function tabAfter(text: string, from: number, end: number): number {
  const tab = text.indexOf('\t', from);
  if (tab === -1 || tab > end) throw new SyntaxError('An outcome with too few fields.');
  return tab;
}

function parseFailure(fields: string, ordinal: number, duration_ms: number): Outcome {
  const [verdict, json, ...more] = fields.split('\t');
  if (
    (verdict !== 'retry' && verdict !== 'fail' && verdict !== 'halt') ||
    json === undefined ||
    more.length > 0
  )
    throw new SyntaxError('An outcome of no known kind.');
  const failure: unknown = JSON.parse(json);
  if (!Array.isArray(failure) || failure.length !== 2)
    throw new SyntaxError('A failure without code or message.');
  const [code, message] = failure as readonly unknown[];
  if (typeof code !== 'string' || typeof message !== 'string')
    throw new SyntaxError('A failure whose code or message is no text.');
  return { ordinal, status: 'failed', verdict, code, message, duration_ms };
}

/** No whole number has more digits that is safe whatever they are. */
const digits_max = 15;

function parseWhole(text: string, from: number, end: number): number {
  let number = 0;
  for (let at = from; at < end; at++) {
    const digit = text.charCodeAt(at) - 0x30;
    if (digit < 0 || digit > 9) throw notWhole();
    number = number * 10 + digit;
  }
  if (end === from || end - from > digits_max) throw notWhole();
  return number;
}

function notWhole(): SyntaxError {
  return new SyntaxError(`An ordinal or duration is no whole number from 0 of at most ${digits_max} digits.`);
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
