import { canonicalJson, sha256, type Digest } from '#truth';
import type { SqlDialect } from '../execute/targets.js';
import { refusalOf } from './refusals.js';
import { tokenize, type Token } from './tokens.js';

/** What a backfill does to each batch: columns that get a value, or a statement of its own. */
export type BackfillWork =
  | { readonly set: Readonly<Record<string, string | number | boolean | null>> }
  | { readonly statement: string };

/** Where a backfill's statement takes the batch's condition. */
export const range_mark = '{range}';

/**
 * Names a backfill in the target's ledger: the same table, key, work and `run` are the same backfill, which is applied
 * once, whichever plan asks for it.
 */
export function operationId(backfill: {
  readonly table: string;
  readonly key: readonly string[];
  readonly work: BackfillWork;
  readonly run: string | null;
}): Digest {
  return sha256(canonicalJson({ v: 1, ...backfill }));
}

/** What keeps a statement from being a backfill's, in words that name the way out; null when nothing does. */
export function statementFault(statement: string, dialect: SqlDialect): string | null {
  const refusal = refusalOf(statement, dialect, { in_transaction: true });
  if (refusal !== null) return refusal;
  const tokens = tokenize(statement, dialect);
  if (tokens.slice(0, -1).some(({ kind }) => kind === 'semicolon'))
    return 'It must be one statement, without a semicolon inside.';
  const first = tokens[0]?.value ?? '';
  if (!['update', 'insert', 'delete', 'with', 'replace', 'merge'].includes(first))
    return 'It must begin with UPDATE, INSERT, DELETE or WITH.';
  if (tokens.some(({ kind }) => kind === 'parameter'))
    return 'It must have no parameters of its own: write values as they are.';
  const marks = rangeMarks(tokens).length;
  return marks === 1
    ? null
    : `It must have ${range_mark} exactly once, as a condition of WHERE, outside texts and comments; it has it ${marks} times.`;
}

/** Puts a batch's condition in place of the mark of a statement that has no {@link statementFault}. */
export function withRange(statement: string, dialect: SqlDialect): (predicate: string) => string {
  const tokens = tokenize(statement, dialect);
  const [mark] = rangeMarks(tokens);
  const before = statement.slice(0, tokens[mark!]!.start);
  const after = statement.slice(tokens[mark! + 2]!.end).replace(/;\s*$/, '');
  return (predicate) => `${before}(${predicate})${after}`;
}

/** Where the marks begin. */
function rangeMarks(tokens: readonly Token[]): number[] {
  return tokens.flatMap(({ value, end }, at) => {
    const [name, close] = [tokens[at + 1], tokens[at + 2]];
    const together = name?.start === end && close?.start === name.end;
    return value === '{' && together && name.value === 'range' && close.value === '}' ? [at] : [];
  });
}
