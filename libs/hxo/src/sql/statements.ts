import type { SqlDialect } from '../execute/targets.js';
import { SqlTextError, tokenize, type Token } from './tokens.js';

/** One statement of a text. */
export interface SqlStatement {
  /** As it stands, without its semicolon. */
  readonly text: string;
  /** At least one, none of them its final semicolon. */
  readonly tokens: readonly Token[];
}

/**
 * Cuts a text at the semicolons between its statements. Those in the body of a trigger (SQLite) or of a function written
 * as BEGIN ATOMIC … END (PostgreSQL) belong to it. Throws SqlTextError.
 */
export function splitStatements(sql: string, dialect: SqlDialect): SqlStatement[] {
  const statements: SqlStatement[] = [];
  let open: Token[] = [];
  let depth = 0;
  const close = (): void => {
    if (open.length > 0) statements.push({ text: sql.slice(open[0]!.start, open.at(-1)!.end), tokens: open });
    open = [];
    depth = 0;
  };
  for (const token of tokenize(sql, dialect)) {
    if (token.kind === 'semicolon' && depth === 0) {
      close();
      continue;
    }
    // Behind a point stands a column's name, as in NEW.end.
    const named = open.at(-1)?.value === '.';
    if (token.kind === 'word' && !named && hasBody(open, dialect)) depth += nesting(token.value, depth);
    open.push(token);
  }
  // A body without end would hide every statement behind it.
  if (depth > 0) throw new SqlTextError('A body that begins with BEGIN never ends.');
  close();
  return statements;
}

/** What may stand between CREATE and the kind of thing that is created. */
const modifiers: ReadonlySet<string> = new Set(['or', 'replace', 'temp', 'temporary']);

/** A statement whose body may hold statements of its own: by the kind that is created, whatever names follow. */
function hasBody(tokens: readonly Token[], dialect: SqlDialect): boolean {
  const [first, ...rest] = tokens.slice(0, 5);
  if (first?.kind !== 'word' || first.value !== 'create') return false;
  const created = rest.find(({ kind, value }) => kind !== 'word' || !modifiers.has(value));
  if (created?.kind !== 'word') return false;
  return dialect === 'sqlite'
    ? created.value === 'trigger'
    : created.value === 'function' || created.value === 'procedure';
}

/** CASE ends with END as a body does, but only inside of one can the two be mistaken for each other. */
function nesting(word: string, depth: number): -1 | 0 | 1 {
  if (word === 'begin' || (word === 'case' && depth > 0)) return 1;
  return word === 'end' && depth > 0 ? -1 : 0;
}
