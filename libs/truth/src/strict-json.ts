import type { Json } from './canonical-json.js';

/** Arrays and objects inside each other beyond this are refused. */
export const json_depth_max = 32;

/** Thrown when a text is not JSON that HXO takes. `errors` names the field where one is at fault. */
export class StrictJsonError extends Error {
  override readonly name = 'StrictJsonError';
  constructor(
    message: string,
    readonly errors: readonly { readonly field: string; readonly message: string }[] = [],
  ) {
    super(message);
  }
}

/** Names of fields are the caller's text: answers repeat no more of them than this. */
const field_length_max = 200;

const own_field = { configurable: true, enumerable: true, writable: true };

/** Keys that, assigned to an object by careless code, reach its prototype. */
const forbidden_keys = new Set(['__proto__', 'constructor', 'prototype']);

/** What is taken beside the limits of a request. */
export interface JsonRules {
  /** What the text is, for messages. */
  readonly subject: string;
  readonly depth_max: number;
  /** Are keys that name a prototype taken, and texts with NUL or lone surrogates? A key `__proto__` becomes a field of its own. */
  readonly any_text: boolean;
}

const request_rules: JsonRules = { subject: 'The body', depth_max: json_depth_max, any_text: false };

/**
 * Parses JSON (RFC 8259) as `JSON.parse` does, but refuses what that lets through: duplicate keys, keys that name a
 * prototype, NUL, lone surrogates, numbers beyond the range of a double, and nesting over {@link json_depth_max}; and
 * says where in the text a fault is. `rules` may let some of that through. Throws {@link StrictJsonError}.
 */
export function parseStrictJson(text: string, rules: JsonRules = request_rules): Json {
  return new Reader(text, rules).document();
}

const white_space = /[ \t\n\r]*/y;
const number = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const literal = /true|false|null/y;

class Reader {
  private at = 0;
  /** Keys and indexes that lead to the value being read. */
  private readonly path: (string | number)[] = [];

  constructor(
    private readonly text: string,
    private readonly rules: JsonRules,
  ) {}

  document(): Json {
    const value = this.value();
    this.skip();
    if (this.at < this.text.length) throw this.unexpected('the end of the text');
    return value;
  }

  private value(): Json {
    this.skip();
    switch (this.text[this.at]) {
      case '{':
        return this.nested(() => this.object());
      case '[':
        return this.nested(() => this.array());
      case '"':
        return this.string();
      default:
        return this.scalar();
    }
  }

  private nested<T>(read: () => T): T {
    const { depth_max } = this.rules;
    if (this.path.length >= depth_max) throw this.fault(`is nested deeper than ${depth_max} levels`);
    this.at += 1;
    return read();
  }

  private object(): Json {
    const object: Record<string, Json> = {};
    if (this.take('}')) return object;
    do {
      this.skip();
      if (this.text[this.at] !== '"') throw this.unexpected('a key in double quotes');
      const key = this.string();
      this.path.push(key);
      if (!this.rules.any_text && forbidden_keys.has(key))
        throw this.fault('has a name that HXO does not take. Rename it');
      if (Object.hasOwn(object, key)) throw this.fault('is given twice. Keep one');
      if (!this.take(':')) throw this.unexpected("':'");
      const value = this.value();
      if (key === '__proto__') Object.defineProperty(object, key, { value, ...own_field });
      else object[key] = value;
      this.path.pop();
    } while (this.take(','));
    if (!this.take('}')) throw this.unexpected("',' or '}'");
    return object;
  }

  private array(): Json {
    const items: Json[] = [];
    if (this.take(']')) return items;
    do {
      this.path.push(items.length);
      items.push(this.value());
      this.path.pop();
    } while (this.take(','));
    if (!this.take(']')) throw this.unexpected("',' or ']'");
    return items;
  }

  private string(): string {
    const start = this.at;
    let end = start + 1;
    while (end < this.text.length && this.text[end] !== '"') end += this.text[end] === '\\' ? 2 : 1;
    let value: string;
    try {
      value = JSON.parse(this.text.slice(start, end + 1)) as string;
    } catch {
      throw this.unexpected('a text in double quotes, with valid escapes and no control characters');
    }
    this.at = end + 1;
    if (this.rules.any_text) return value;
    if (value.includes('\0')) throw this.fault('holds a NUL character. Remove it');
    if (!value.isWellFormed()) throw this.fault('holds a lone surrogate. Send whole characters');
    return value;
  }

  private scalar(): Json {
    const word = this.match(literal);
    if (word !== '') return JSON.parse(word) as Json;
    const digits = this.match(number);
    if (digits === '') throw this.unexpected('a value');
    const value = Number(digits);
    if (!Number.isFinite(value)) throw this.fault('is a number too large to hold');
    return value;
  }

  private skip(): void {
    this.match(white_space);
  }

  /** Takes one character, past white space, when it is the next. */
  private take(character: string): boolean {
    this.skip();
    if (this.text[this.at] !== character) return false;
    this.at += 1;
    return true;
  }

  private match(pattern: RegExp): string {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0] ?? '';
    this.at += found.length;
    return found;
  }

  private unexpected(wanted: string): StrictJsonError {
    const found = this.at < this.text.length ? JSON.stringify(this.text.charAt(this.at)) : 'the end';
    const line = this.text.slice(0, this.at).split('\n').length;
    return new StrictJsonError(
      `${this.rules.subject} is not JSON: at position ${this.at} (line ${line}) there is ${found} where ${wanted} should be.`,
    );
  }

  private fault(message: string): StrictJsonError {
    const field = dottedPath(this.path).slice(0, field_length_max);
    return new StrictJsonError(`${field === '' ? this.rules.subject : field} ${message}.`, [
      { field, message },
    ]);
  }
}

/** `stages[1].config.chunk_size_mb`. */
export function dottedPath(path: readonly (string | number)[]): string {
  return path
    .map((part, i) => (typeof part === 'number' ? `[${part}]` : i === 0 ? part : `.${part}`))
    .join('');
}
