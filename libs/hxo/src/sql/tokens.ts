import type { SqlDialect } from '../execute/targets.js';

/**
 * `word` is a keyword or plain name, `quoted` a quoted name, `string` text in single quotes, `code` text between dollar
 * quotes, `parameter` a place for a bound value, `symbol` any one other character.
 */
export type TokenKind =
  'word' | 'quoted' | 'string' | 'code' | 'number' | 'parameter' | 'semicolon' | 'symbol';

export interface Token {
  readonly kind: TokenKind;
  /** Words in lower case, quoted names and texts without their quotes, everything else as it stands. */
  readonly value: string;
  /** First character, and the one behind the last. */
  readonly start: number;
  readonly end: number;
}

/** Thrown for text that no database could read: a quote or a comment that never ends. */
export class SqlTextError extends Error {
  override readonly name = 'SqlTextError';
}

const name_start = /[A-Za-z_\u0080-\uffff]/;
const name_rest = /[A-Za-z0-9_$\u0080-\uffff]*/y;
const dollar_quote = /\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$/y;
const number = /(?:\d|\.\d)[0-9A-Za-z_.]*/y;
/** What separates tokens; a character that a database takes for part of a name must not be among it. */
const space = /[ \t\n\r\f\v]/;
/** Blanks and line comments, a line's end among them, up to a quote: there a text of PostgreSQL goes on. */
const continuation = /(?:[ \t\f\v]|--[^\n\r]*)*[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*)*'/y;

/** What a backslash of E'…' stands for: a character by its number, octal (its lowest byte) or hexadecimal, or one of its own. */
const escape = /\\(?:([0-7]{1,3})|(?:x([\da-fA-F]{1,2})|u([\da-fA-F]{4})|U([\da-fA-F]{8}))|([^]))/y;
const escaped_characters: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };

/**
 * Cuts SQL into tokens, as far as it takes to tell code from comments and texts. Rules of PostgreSQL (section 4.1 of its
 * manual, standard_conforming_strings on) and of SQLite. Throws {@link SqlTextError}.
 */
export function tokenize(sql: string, dialect: SqlDialect): Token[] {
  if (sql.includes('\0')) throw new SqlTextError('It holds a NUL character.');
  const tokens: Token[] = [];
  const lexer = new Lexer(sql, dialect);
  for (let token = lexer.next(); token !== null; token = lexer.next()) tokens.push(token);
  return tokens;
}

class Lexer {
  #at = 0;

  constructor(
    private readonly sql: string,
    private readonly dialect: SqlDialect,
  ) {}

  /** The next token, or null at the end. */
  next(): Token | null {
    this.#skipBlanks();
    const start = this.#at;
    if (start >= this.sql.length) return null;
    const [kind, value] = this.#read(this.sql[start]!);
    return { kind, value, start, end: this.#at };
  }

  #read(first: string): [TokenKind, string] {
    const { sql, dialect } = this;
    const postgres = dialect === 'postgres';
    if (first === "'") return ['string', this.#text()];
    if (first === '"') return ['quoted', this.#quoted('"', false)];
    if (!postgres && first === '`') return ['quoted', this.#quoted('`', false)];
    if (!postgres && first === '[') return ['quoted', this.#until(']')];
    if (postgres && /[eE]/.test(first) && sql[this.#at + 1] === "'") {
      this.#at++;
      const value = this.#quoted("'", true);
      if (this.#goesOn())
        throw new SqlTextError("An E'…' that goes on in another line is refused: join its parts.");
      return ['string', value];
    }
    if (name_start.test(first)) return ['word', this.#match(name_rest).toLowerCase()];
    if (postgres && first === '$') return this.#dollar();
    if (!postgres && '?$:@#'.includes(first)) return ['parameter', first + this.#rest(name_rest)];
    if (/\d/.test(first) || (first === '.' && /\d/.test(sql[this.#at + 1] ?? '')))
      return ['number', this.#match(number)];
    this.#at++;
    return [first === ';' ? 'semicolon' : 'symbol', first];
  }

  #dollar(): [TokenKind, string] {
    const from = this.#at;
    dollar_quote.lastIndex = from;
    const tag = dollar_quote.exec(this.sql)?.[0];
    if (tag === undefined) {
      const digits = this.#rest(name_rest);
      return [/^\d/.test(digits) ? 'parameter' : 'symbol', `$${digits}`];
    }
    const end = this.sql.indexOf(tag, from + tag.length);
    if (end === -1) throw new SqlTextError(`A text that begins with ${tag} never ends.`);
    this.#at = end + tag.length;
    return ['code', this.sql.slice(from + tag.length, end)];
  }

  /** Text in single quotes; one of PostgreSQL may go on in another line. */
  #text(): string {
    let value = this.#quoted("'", false);
    while (this.dialect === 'postgres' && this.#goesOn()) {
      this.#at = continuation.lastIndex - 1;
      value += this.#quoted("'", false);
    }
    return value;
  }

  #goesOn(): boolean {
    continuation.lastIndex = this.#at;
    return continuation.test(this.sql);
  }

  /** Text between quotes; two of them are one that belongs to it. */
  #quoted(quote: string, backslashes: boolean): string {
    const { sql } = this;
    let value = '';
    for (let at = this.#at + 1; at < sql.length; at++) {
      if (backslashes && sql[at] === '\\') {
        value += unescaped(sql, at);
        at = Math.max(at, escape.lastIndex - 1);
      } else if (sql[at] !== quote) {
        value += sql[at];
      } else if (sql[at + 1] === quote) {
        value += sql[at++];
      } else {
        this.#at = at + 1;
        return value;
      }
    }
    throw new SqlTextError(`A text or name that begins with ${quote} never ends.`);
  }

  #until(close: string): string {
    const from = this.#at + 1;
    const end = this.sql.indexOf(close, from);
    if (end === -1) throw new SqlTextError(`A name that begins with [ never ends.`);
    this.#at = end + 1;
    return this.sql.slice(from, end);
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const [text] = pattern.exec(this.sql)!;
    this.#at += Math.max(1, text.length);
    return text;
  }

  /** What stands behind the current character. */
  #rest(pattern: RegExp): string {
    pattern.lastIndex = ++this.#at;
    const [text] = pattern.exec(this.sql)!;
    this.#at += text.length;
    return text;
  }

  #skipBlanks(): void {
    const { sql } = this;
    for (;;) {
      while (this.#at < sql.length && space.test(sql[this.#at]!)) this.#at++;
      if (sql.startsWith('--', this.#at)) this.#skipLine();
      else if (sql.startsWith('/*', this.#at)) this.#skipComment();
      else return;
    }
  }

  /** SQLite ends such a comment at a line feed only, PostgreSQL at a carriage return too. */
  #skipLine(): void {
    const end = this.dialect === 'postgres' ? /[\r\n]/g : /\n/g;
    end.lastIndex = this.#at;
    this.#at = end.exec(this.sql)?.index ?? this.sql.length;
  }

  /** PostgreSQL nests such comments; SQLite does not, and lets the last one run to the end. */
  #skipComment(): void {
    const { sql } = this;
    let depth = 1;
    let at = this.#at + 2;
    while (depth > 0) {
      const close = sql.indexOf('*/', at);
      if (close === -1) {
        if (this.dialect === 'postgres') throw new SqlTextError('A comment that begins with /* never ends.');
        this.#at = sql.length;
        return;
      }
      const open = this.dialect === 'postgres' ? sql.indexOf('/*', at) : -1;
      const nested = open !== -1 && open < close;
      depth += nested ? 1 : -1;
      at = (nested ? open : close) + 2;
    }
    this.#at = at;
  }
}

/** The character that a backslash in E'…' stands for; leaves `escape` behind its sequence. */
function unescaped(sql: string, at: number): string {
  escape.lastIndex = at;
  const [, octal, ...rest] = escape.exec(sql) ?? [];
  const [plain = ''] = rest.slice(3);
  const hex = rest.slice(0, 3).find((digits) => digits !== undefined);
  if (octal === undefined && hex === undefined) return escaped_characters[plain] ?? plain;
  const code = octal === undefined ? parseInt(hex!, 16) : parseInt(octal, 8) & 0xff;
  if (code <= 0x10ffff) return String.fromCodePoint(code);
  throw new SqlTextError(`\\U${hex} in a text is no character.`);
}
