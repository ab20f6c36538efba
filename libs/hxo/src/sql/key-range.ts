import { canonicalJson, type Json } from '#truth';
import { parameter, type SqlDialect, type SqlValue } from '../execute/targets.js';

/** A key's values as JSON that loses nothing, one for each column. */
export type KeyJson = readonly Json[];

/** Keys above `from` and up to `to`, `to` included. A null `from` is the beginning. */
export interface KeyRange {
  readonly from: KeyJson | null;
  readonly to: KeyJson;
}

/**
 * A key's value as JSON: texts, and numbers that JSON holds exactly, are themselves; others are `{"int": "9007199254740993"}`,
 * `{"real": "1e+300"}` or `{"hex": "00ff"}`. PostgreSQL's values are its own text for them. Null for NULL, which no key may hold.
 */
export function encodeKeyValue(value: SqlValue): Json {
  if (typeof value === 'bigint') {
    const exact = BigInt.asIntN(53, value) === value && Number.isSafeInteger(Number(value));
    return exact ? Number(value) : { int: value.toString() };
  }
  if (typeof value === 'number')
    return Number.isFinite(value) && Math.abs(value) <= Number.MAX_SAFE_INTEGER
      ? value
      : { real: String(value) };
  if (value instanceof Uint8Array) return { hex: Buffer.from(value).toString('hex') };
  return value;
}

/** The value that {@link encodeKeyValue} had. Throws TypeError for JSON that it does not make. */
export function decodeKeyValue(json: Json): SqlValue {
  if (typeof json === 'string') return json;
  if (typeof json === 'number') return Number.isSafeInteger(json) ? BigInt(json) : json;
  const { int, real, hex } = (json ?? {}) as { readonly [key: string]: Json };
  if (typeof int === 'string' && /^-?\d{1,19}$/.test(int)) return BigInt(int);
  if (typeof real === 'string') return Number(real);
  if (typeof hex === 'string' && /^([0-9a-f]{2})*$/.test(hex)) return Buffer.from(hex, 'hex');
  throw new TypeError('A key holds texts, numbers, {"int"}, {"real"} or {"hex"}.');
}

/** A condition with its bound values. */
export interface Predicate {
  readonly sql: string;
  readonly values: readonly SqlValue[];
}

/**
 * The condition that picks a range's rows, by row values where the key has several columns.
 * @param columns quoted, qualified where they have to be
 * @param first number of the first parameter
 */
export function rangePredicate(
  dialect: SqlDialect,
  columns: readonly string[],
  range: { readonly from: KeyJson | null; readonly to: KeyJson | null },
  first = 1,
): Predicate {
  const left = columns.length === 1 ? columns[0]! : `(${columns.join(', ')})`;
  const values: SqlValue[] = [];
  const compare = (operator: '>' | '<=', key: KeyJson): string => {
    const places = key.map((value) => {
      values.push(decodeKeyValue(value));
      return parameter(dialect, first + values.length - 1);
    });
    return `${left} ${operator} ${places.length === 1 ? places[0] : `(${places.join(', ')})`}`;
  };
  const conditions = [
    ...(range.from === null ? [] : [compare('>', range.from)]),
    ...(range.to === null ? [] : [compare('<=', range.to)]),
  ];
  return { sql: conditions.length === 0 ? '1 = 1' : conditions.join(' AND '), values };
}

/** How the ledger writes a range down. */
export function printRange({ from, to }: KeyRange): string {
  return canonicalJson([from as Json, to as Json]);
}

/** The range that {@link printRange} wrote. */
export function parseRange(text: string): KeyRange {
  const [from, to] = JSON.parse(text) as [KeyJson | null, KeyJson];
  return { from, to };
}
