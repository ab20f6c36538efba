import { createRequire } from 'node:module';
import fc from 'fast-check';
import { canonical_depth_max, canonicalJson, NotCanonicalError } from './canonical-json.js';

// Its type declarations describe an ES module, but what it exports is a CommonJS function.
const canonicalize = createRequire(import.meta.url)('canonicalize') as (value: unknown) => string | undefined;

/** A value nested so many arrays deep. */
function nested(depth: number): unknown {
  let value: unknown = 0;
  for (let i = 0; i < depth; i++) value = [value];
  return value;
}

describe('canonicalJson', () => {
  it('prints any JSON as another implementation of RFC 8785 does', () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: 'binary', maxDepth: 6 }), (value) => {
        expect(canonicalJson(value)).toBe(canonicalize(value));
      }),
      { numRuns: 1_000 },
    );
  });

  it('prints alike, or refuses alike, what is in order and what is not', () => {
    /** What is beside keys out of order is printed the slow way. */
    const slowly = (value: unknown): string => canonicalJson([{ b: 0, a: 0 }, value]).slice(15, -1);
    const attempt = (print: () => string): string => {
      try {
        return print();
      } catch (error) {
        expect(error).toBeInstanceOf(NotCanonicalError);
        return 'refused';
      }
    };
    const odd = fc.constantFrom<unknown>(
      Object.assign([1], { toJSON: () => 'an array' }),
      { toJSON: () => 'an object' },
      new String('x'),
      new Number(1),
      new Boolean(false),
      new Date(0),
      new Array<number>(2),
    );
    const anything = fc.anything({
      values: [...[fc.integer(), fc.double(), fc.string({ unit: 'binary' }), fc.constant(undefined)], odd],
      withSparseArray: true,
      withBoxedValues: true,
      withNullPrototype: true,
      withDate: true,
      withMap: true,
    });
    fc.assert(
      fc.property(fc.oneof(odd, anything), (value) => {
        expect(attempt(() => canonicalJson(value))).toBe(attempt(() => slowly(value)));
      }),
      { numRuns: 2_000 },
    );
  });

  it('keeps the value and does not depend on the order of keys', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue()), (object) => {
        const text = canonicalJson(object);
        const reversed = Object.fromEntries(Object.entries(object).reverse());
        expect(canonicalJson(reversed)).toBe(text);
        expect(canonicalJson(JSON.parse(text))).toBe(text);
      }),
    );
  });

  it('sorts keys by UTF-16 code units, as the example of RFC 8785 §3.2.3 does', () => {
    const object = {
      '\u20ac': 'Euro Sign',
      '\r': 'Carriage Return',
      '\ufb33': 'Hebrew Letter Dalet With Dagesh',
      '1': 'One',
      '\ud83d\ude00': 'Emoji: Grinning Face',
      '\u0080': 'Control',
      '\u00f6': 'Latin Small Letter O With Diaeresis',
    };
    const values = Object.values(JSON.parse(canonicalJson(Object.entries(object))) as string[][]);
    expect(values).toHaveLength(7);
    expect([...canonicalJson(object).matchAll(/:"([^"]+)"/g)].map((match) => match[1])).toEqual([
      'Carriage Return',
      'One',
      'Control',
      'Latin Small Letter O With Diaeresis',
      'Euro Sign',
      'Emoji: Grinning Face',
      'Hebrew Letter Dalet With Dagesh',
    ]);
  });

  it.each([
    [-0, '0'],
    [1e21, '1e+21'],
    [1e-7, '1e-7'],
    [333333333.33333329, '333333333.3333333'],
    ['\u000f\n"\\/', '"\\u000f\\n\\"\\\\/"'],
    [{ b: undefined, a: null }, '{"a":null}'],
    [JSON.parse('{"__proto__":1}'), '{"__proto__":1}'],
  ])('prints %p as %s', (value, text) => {
    expect(canonicalJson(value)).toBe(text);
  });

  it.each([
    ['NaN', NaN],
    ['an infinity', -Infinity],
    ['undefined', undefined],
    ['undefined in an array', [undefined]],
    ['a hole in an array', Object.assign(new Array<number>(2), { 1: 1 })],
    ['a function', () => 0],
    ['a big integer', 1n],
    ['a lone surrogate', 'a\udc00'],
    ['a lone surrogate in a key', { '\ud800': 1 }],
  ])('refuses %s', (_, value) => {
    expect(() => canonicalJson(value)).toThrow(NotCanonicalError);
  });

  it('refuses nesting beyond its limit and nothing below', () => {
    expect(canonicalJson(nested(canonical_depth_max))).toHaveLength(2 * canonical_depth_max + 1);
    expect(() => canonicalJson(nested(canonical_depth_max + 1))).toThrow(NotCanonicalError);
    expect(() => canonicalJson(nested(100_000))).toThrow(NotCanonicalError);
  });
});
