import type { SqlDialect, TargetTable } from '../execute/targets.js';
import type { BackfillWork } from './backfill.js';
import { tokenize, type Token } from './tokens.js';

/** SQLite's names for the rowid, which an INTEGER PRIMARY KEY is as well. */
const rowid = /^(rowid|_rowid_|oid)$/i;

/**
 * What keeps work from being done batch by batch: it writes the key that tells the batches apart, and a row that it moves
 * to a later batch would be changed twice. In words that name the way out; null when it leaves the key alone.
 *
 * Looked for in `set`, and in what each UPDATE of the table assigns, ON CONFLICT's and MERGE's among them. What a trigger or
 * an updatable view does is not seen.
 */
export function keyWriteFault(
  work: BackfillWork,
  key: readonly string[],
  table: TargetTable,
  dialect: SqlDialect,
): string | null {
  const written =
    'statement' in work
      ? writtenKey(new Statement(work.statement, dialect), key, table)
      : key.find((column) => Object.hasOwn(work.set, column));
  if (written === undefined) return null;
  return `${written} belongs to the key that the batches are cut by: a row that moves to another batch would be changed twice. Do not write it, or name another unique key.`;
}

function writtenKey(statement: Statement, key: readonly string[], table: TargetTable): string | undefined {
  const { dialect, tokens } = statement;
  const dot = dialect === 'sqlite' ? -1 : table.name.indexOf('.');
  const schema = dialect === 'sqlite' ? 'main' : table.name.slice(0, dot);
  const rowid_is_free = dialect === 'sqlite' && !table.columns.some(({ name }) => rowid.test(name));
  const isKey = (at: number): string | undefined => {
    const column = key.find((name) => statement.isName(at, name));
    return column ?? (rowid_is_free && rowid.test(tokens[at]!.value) ? tokens[at]!.value : undefined);
  };
  for (const [at, token] of tokens.entries()) {
    if (token.kind !== 'word' || token.value !== 'update') continue;
    const names = statement.updated(at);
    const name = names.at(-1);
    if (name === undefined || !statement.isName(name, table.name.slice(dot + 1))) continue;
    if (names.length > 1 && !statement.isName(names.at(-2)!, schema)) continue;
    const set = tokens.findIndex(({ kind, value }, i) => i > at && kind === 'word' && value === 'set');
    const written =
      set === -1
        ? undefined
        : statement
            .assigned(set + 1)
            .map(isKey)
            .find(isText);
    if (written !== undefined) return written;
  }
  return undefined;
}

function isText(value: string | undefined): value is string {
  return value !== undefined;
}

/** A statement's tokens, by their places. */
class Statement {
  readonly tokens: readonly Token[];

  constructor(
    private readonly text: string,
    readonly dialect: SqlDialect,
  ) {
    this.tokens = tokenize(text, dialect);
  }

  /** Does the token at a place name what has this exact name? PostgreSQL folds plain names, SQLite compares all without case. */
  isName(at: number, name: string): boolean {
    const { kind, value, start, end } = this.tokens[at]!;
    const written = kind === 'word' ? this.text.slice(start, end) : value;
    if (this.dialect === 'sqlite') return folded(written) === folded(name);
    return (kind === 'word' ? folded(written) : written) === name;
  }

  /** The name of what the UPDATE at a place changes, schema and table; empty where it is the UPDATE of FOR UPDATE. */
  updated(at: number): number[] {
    const next = this.#value(at + 1);
    if (next !== 'set') return this.#names(this.#value(at + 1) === 'or' ? at + 3 : at + 1);
    // DO UPDATE SET and THEN UPDATE SET change what the INSERT or MERGE before them is into.
    const into = this.tokens.findLastIndex(
      ({ kind, value }, i) => i < at && kind === 'word' && value === 'into',
    );
    return into === -1 ? [] : this.#names(into + 1);
  }

  /** The columns of an assignment list: `a = …, (b, "c") = …`. */
  assigned(from: number): number[] {
    const columns: number[] = [];
    let depth = 0;
    let begins = true;
    for (let at = from; at < this.tokens.length && depth >= 0; at++) {
      const { kind, value } = this.tokens[at]!;
      if (depth === 0 && kind === 'word' && this.#ends(at)) break;
      if (begins && value === '(' && kind === 'symbol') {
        const close = this.tokens.findIndex(
          (token, i) => i > at && token.value === ')' && token.kind === 'symbol',
        );
        for (let i = at + 1; i < close; i++) if (this.tokens[i]!.kind !== 'symbol') columns.push(i);
      } else if (begins) {
        columns.push(at);
      }
      if (kind === 'symbol' && /^[([]$/.test(value)) depth++;
      if (kind === 'symbol' && /^[)\]]$/.test(value)) depth--;
      begins = depth === 0 && kind === 'symbol' && value === ',';
    }
    return columns;
  }

  /** Is the word at a place what follows an assignment list? */
  #ends(at: number): boolean {
    const { value } = this.tokens[at]!;
    return (
      value === 'where' || value === 'returning' || (value === 'from' && this.#value(at - 1) !== 'distinct')
    );
  }

  /** The parts of a name, which ONLY and a parenthesis may stand before. */
  #names(at: number): number[] {
    let next = at;
    while (/^(only|\()$/.test(this.#value(next))) next++;
    if (!this.#isName(next)) return [];
    const names = [next];
    while (this.#value(next + 1) === '.' && this.#isName(next + 2)) names.push((next += 2));
    return names;
  }

  /** SQLite takes a text for a name where a name must stand. */
  #isName(at: number): boolean {
    const kind = this.tokens[at]?.kind;
    return kind === 'word' || kind === 'quoted' || (kind === 'string' && this.dialect === 'sqlite');
  }

  /** A word or symbol; quoted ones are neither. */
  #value(at: number): string {
    const token = this.tokens[at];
    return token?.kind === 'word' || token?.kind === 'symbol' ? token.value : '';
  }
}

/** Letters of ASCII alone, as both databases fold them. */
function folded(name: string): string {
  return name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}
