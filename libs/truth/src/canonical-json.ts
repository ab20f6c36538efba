/** Any value that JSON can carry. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** Nesting beyond this is refused: a recursive canonicaliser must not be led to the end of its stack. */
export const canonical_depth_max = 64;

/** Thrown when a value has no canonical JSON: NaN, infinities, undefined, functions, lone surrogates, or too deep. */
export class NotCanonicalError extends Error {
  override readonly name = 'NotCanonicalError';
}

/**
 * The canonical JSON of a value: RFC 8785 (JCS). Keys sort by UTF-16 code units, numbers and strings print
 * as ECMAScript prints them, no white space. Equal values give equal texts, so texts can be hashed.
 *
 * Throws {@link NotCanonicalError}.
 */
export function canonicalJson(value: unknown): string {
  // What is in canonical order already is printed by the engine itself, three times as fast.
  return isInOrder(value, 0) ? JSON.stringify(value) : print(value, 0);
}

/**
 * Would JSON.stringify print the canonical form? False also for all that has none, which {@link print} tells of, and for
 * what JSON.stringify has rules of its own for: toJSON, and objects that are no plain ones.
 */
function isInOrder(value: unknown, depth: number): boolean {
  if (typeof value === 'string') return value.isWellFormed();
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value === 'boolean' || value === null) return true;
  if (typeof value !== 'object' || depth >= canonical_depth_max) return false;
  if ('toJSON' in value) return false;
  if (Array.isArray(value)) return areInOrder(value, depth + 1);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return false;
  let last = '';
  for (const key of Object.keys(value)) {
    if (key < last || !key.isWellFormed()) return false;
    last = key;
    const item = (value as Record<string, unknown>)[key];
    if (item !== undefined && !isInOrder(item, depth + 1)) return false;
  }
  return true;
}

function areInOrder(items: readonly unknown[], depth: number): boolean {
  // By index: `every` leaves out holes.
  for (let i = 0; i < items.length; i++) if (!isInOrder(items[i], depth)) return false;
  return true;
}

function print(value: unknown, depth: number): string {
  if (depth > canonical_depth_max) {
    throw new NotCanonicalError(`JSON nested deeper than ${canonical_depth_max} levels.`);
  }
  switch (typeof value) {
    case 'string':
      return printString(value);
    case 'number':
      if (!Number.isFinite(value)) throw new NotCanonicalError(`${value} is not a JSON number.`);
      return JSON.stringify(value);
    case 'boolean':
      return value ? 'true' : 'false';
    case 'object':
      if (value === null) return 'null';
      return Array.isArray(value)
        ? printArray(value, depth)
        : printObject(value as Record<string, unknown>, depth);
    default:
      throw new NotCanonicalError(`A ${typeof value} has no JSON form.`);
  }
}

function printString(text: string): string {
  if (!text.isWellFormed()) throw new NotCanonicalError('A text holds a lone surrogate.');
  return JSON.stringify(text);
}

function printArray(items: readonly unknown[], depth: number): string {
  let out = '[';
  for (let i = 0; i < items.length; i++) {
    if (i > 0) out += ',';
    out += print(items[i], depth + 1);
  }
  return out + ']';
}

function printObject(object: Record<string, unknown>, depth: number): string {
  let out = '{';
  for (const key of Object.keys(object).sort()) {
    const value = object[key];
    if (value === undefined) continue; // As JSON.stringify does: an absent optional field is no field.
    if (out.length > 1) out += ',';
    out += printString(key) + ':' + print(value, depth + 1);
  }
  return out + '}';
}
