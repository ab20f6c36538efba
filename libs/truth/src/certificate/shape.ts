import { isDigest, type Digest } from '../digest.js';

/** Reads a value of unknown shape, named by its path in the document. Throws {@link ShapeError}. */
export type Shape<T> = (value: unknown, at: string) => T;

/** Thrown when a document is not of its shape. The message names the field and what belongs there. */
export class ShapeError extends Error {
  override readonly name = 'ShapeError';
  constructor(
    /** Path of the field: `predicate.stages[1].output`. */
    readonly field: string,
    expected: string,
    value?: unknown,
  ) {
    super(
      `${field} must be ${expected}${value === undefined ? ', but is missing' : `, not ${describe(value)}`}.`,
    );
  }
}

/** A text that has a UTF-8 form, so that it can be hashed. */
export const text: Shape<string> = (value, at) => {
  if (typeof value !== 'string' || !value.isWellFormed()) {
    throw new ShapeError(at, 'a text without lone surrogates', value);
  }
  return value;
};

export const flag: Shape<boolean> = (value, at) => {
  if (typeof value !== 'boolean') throw new ShapeError(at, 'true or false', value);
  return value;
};

/** A whole number from 0. */
export const count: Shape<number> = (value, at) => {
  if (!Number.isSafeInteger(value) || (value as number) < 0) {
    throw new ShapeError(at, 'a whole number from 0', value);
  }
  return value as number;
};

export const digest: Shape<Digest> = (value, at) => {
  if (!isDigest(value)) throw new ShapeError(at, 'a SHA-256 digest of 64 lower-case hex digits', value);
  return value;
};

/** UTC, whole seconds, `Z`. */
export const time: Shape<string> = (value, at) => {
  if (typeof value !== 'string' || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(value)) {
    throw new ShapeError(at, 'a time in UTC with whole seconds, as 2025-10-11T20:00:00Z', value);
  }
  return value;
};

export function oneOf<const T extends string | number>(...allowed: readonly T[]): Shape<T> {
  const expected = allowed.map((one) => JSON.stringify(one)).join(' or ');
  return (value, at) => {
    const found = allowed.find((one) => one === value);
    if (found === undefined) throw new ShapeError(at, expected, value);
    return found;
  };
}

export function orNull<T>(shape: Shape<T>): Shape<T | null> {
  return (value, at) => (value === null ? null : shape(value, at));
}

export function listOf<T>(shape: Shape<T>): Shape<T[]> {
  return (value, at) => {
    if (!Array.isArray(value)) throw new ShapeError(at, 'a list', value);
    return value.map((item, i) => shape(item, `${at}[${i}]`));
  };
}

/** An object with these fields. Others are left out of the result: a later version may add some. */
export function objectOf<T>(fields: { readonly [K in keyof T]: Shape<T[K]> }): Shape<T> {
  const shapes = Object.entries<Shape<unknown>>(fields);
  return (value, at) => {
    if (!isObject(value)) throw new ShapeError(at, 'an object', value);
    const found: Record<string, unknown> = {};
    for (const [name, shape] of shapes) {
      found[name] = shape(Object.hasOwn(value, name) ? value[name] : undefined, `${at}.${name}`);
    }
    return found as T;
  };
}

/** True for what JSON calls an object. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A value in a few words. Never prints nested values: they come from strangers, at any size and depth. */
export function describe(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (isObject(value)) return 'an object';
  if (typeof value !== 'string') return String(value);
  return JSON.stringify(value.length > 80 ? `${value.slice(0, 79)}…` : value);
}
