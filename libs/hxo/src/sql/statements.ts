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
 * Cuts a text at the semicolons between its statements, where the database itself does. Those in the body of a trigger
 * (SQLite), of a function written as BEGIN ATOMIC … END or of a rule (PostgreSQL) belong to it. Throws SqlTextError.
 */
export function splitStatements(sql: string, dialect: SqlDialect): SqlStatement[] {
  const tokens = tokenize(sql, dialect);
  const statements: SqlStatement[] = [];
  for (let from = 0; from < tokens.length;) {
    const end = endOfStatement(tokens, from, dialect);
    const own = tokens.slice(from, end);
    if (own.length > 0) statements.push({ text: sql.slice(own[0]!.start, own.at(-1)!.end), tokens: own });
    from = end + 1;
  }
  return statements;
}

/** Where the statement's own semicolon stands, or the text's end. */
function endOfStatement(tokens: readonly Token[], from: number, dialect: SqlDialect): number {
  const created = createdKind(tokens.slice(from, from + 5));
  // A trigger without a body is none, so that its name may be begin: what tells its end is END behind a semicolon.
  if (dialect === 'sqlite')
    return created === 'trigger' ? endOfBody(tokens, from) : nextSemicolon(tokens, from);
  if (created === 'rule') return endOfRule(tokens, from);
  const end = nextSemicolon(tokens, from);
  if (created !== 'function' && created !== 'procedure') return end;
  const body = atomicBody(tokens, from, end);
  return body === null ? end : endOfBody(tokens, body);
}

/** What may stand between CREATE and the kind of thing that is created. */
const modifiers: ReadonlySet<string> = new Set(['or', 'replace', 'temp', 'temporary']);

/** The kind of thing that a statement creates, whatever names follow; null for other statements. */
function createdKind([first, ...rest]: readonly Token[]): string | null {
  if (first?.kind !== 'word' || first.value !== 'create') return null;
  const created = rest.find(({ kind, value }) => kind !== 'word' || !modifiers.has(value));
  return created?.kind === 'word' ? created.value : null;
}

function nextSemicolon(tokens: readonly Token[], from: number): number {
  let at = from;
  while (at < tokens.length && tokens[at]!.kind !== 'semicolon') at++;
  return at;
}

/** Where ATOMIC of BEGIN ATOMIC stands. In parentheses both are names, as of an argument. */
function atomicBody(tokens: readonly Token[], from: number, end: number): number | null {
  let depth = 0;
  for (let at = from; at < end; at++) {
    depth += nesting(tokens[at]!);
    if (depth === 0 && isWord(tokens[at], 'begin') && isWord(tokens[at + 1], 'atomic')) return at + 1;
  }
  return null;
}

/**
 * The end of a statement with a body. END closes it only where a statement would begin; elsewhere it is a name, or that of
 * CASE. `from` is ATOMIC, or any place before the body's first semicolon.
 */
function endOfBody(tokens: readonly Token[], from: number): number {
  for (let at = from; at < tokens.length; at++) {
    if (tokens[at]!.kind !== 'semicolon' && !(at === from && isWord(tokens[at], 'atomic'))) continue;
    const next = tokens[at + 1];
    if (isWord(next, 'end')) return nextSemicolon(tokens, at + 1);
    refuseInBody(next);
  }
  // A body without end would hide every statement behind it.
  throw new SqlTextError('A body that begins with BEGIN never ends. Put END; behind its last statement.');
}

/** The end of CREATE RULE, whose statements stand in parentheses when there are several. */
function endOfRule(tokens: readonly Token[], from: number): number {
  let depth = 0;
  for (let at = from; at < tokens.length; at++) {
    depth += nesting(tokens[at]!);
    if (tokens[at]!.kind !== 'semicolon') continue;
    if (depth === 0) return at;
    refuseInBody(tokens[at + 1]);
  }
  if (depth === 0) return tokens.length;
  throw new SqlTextError('The parentheses of a rule never close, or were never opened.');
}

const body_words = new Set([
  ...[
    'select',
    'insert',
    'update',
    'delete',
    'with',
    'replace',
    'merge',
    'values',
    'table',
    'notify',
    'return',
  ],
]);

/** No database takes another statement in a body: one that is there stands behind the body, and would go unseen. */
function refuseInBody(first: Token | undefined): void {
  if (first?.kind !== 'word' || body_words.has(first.value)) return;
  throw new SqlTextError(
    `${first.value.toUpperCase()} is refused in the body of a trigger, function or rule: only statements that read or change rows may stand there. Put it behind the body, which END; or a parenthesis closes.`,
  );
}

function nesting({ kind, value }: Token): -1 | 0 | 1 {
  if (kind !== 'symbol') return 0;
  return value === '(' ? 1 : value === ')' ? -1 : 0;
}

function isWord(token: Token | undefined, word: string): boolean {
  return token?.kind === 'word' && token.value === word;
}
