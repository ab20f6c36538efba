import fc from 'fast-check';
import type { SqlValue } from '../execute/targets.js';
import { operationId, statementFault, withRange } from './backfill.js';
import { decodeKeyValue, encodeKeyValue, parseRange, printRange, rangePredicate } from './key-range.js';

describe('statements', () => {
  it.each([
    ['UPDATE t SET a = 1', '0 times'],
    ['UPDATE t SET a = 1 WHERE {range} AND {range}', '2 times'],
    [`UPDATE t SET a = '{range}'`, '0 times'],
    ['UPDATE t SET a = 1 -- {range}', '0 times'],
    ['UPDATE t SET a = 1 WHERE { range }', '0 times'],
    ['UPDATE t SET a = 1 WHERE {range}; DELETE FROM t', 'one statement'],
    ['UPDATE t SET a = $1 WHERE {range}', 'parameters'],
    ['DROP TABLE t', 'UPDATE'],
    ['COMMIT', 'COMMIT'],
    ['DELETE FROM hxo_ledger WHERE {range}', 'hxo_ledger'],
  ])('%s: refused', (statement, words) => expect(statementFault(statement, 'postgres')).toContain(words));

  it('get the condition in place of their mark, in parentheses', () => {
    const statement = `UPDATE t SET a = '{range}' /* {range} */ WHERE b OR {range} ;`;
    expect(statementFault(statement, 'sqlite')).toBeNull();
    expect(withRange(statement, 'sqlite')('x')).toBe(
      `UPDATE t SET a = '{range}' /* {range} */ WHERE b OR (x) `,
    );
  });
});

describe('keys', () => {
  const value = fc.oneof<fc.Arbitrary<SqlValue>[]>(
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    fc.bigInt({ min: 2n ** 53n - 3n, max: 2n ** 53n + 3n }),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.string(),
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
  );

  it('come back from JSON as they were', () => {
    fc.assert(
      fc.property(value, (key) => {
        const back = decodeKeyValue(JSON.parse(JSON.stringify(encodeKeyValue(key))) as never);
        // SQLite compares a whole real and its integer as equals.
        if (typeof key === 'number') expect(Number(back)).toBe(key + 0);
        else expect(back).toEqual(key);
      }),
      { numRuns: 1_000 },
    );
  });

  it('make ranges that the ledger can write down', () => {
    const range = { from: [1, 'a'], to: [{ int: '9223372036854775807' }, 'b'] };
    expect(parseRange(printRange(range))).toEqual(range);
    expect(rangePredicate('postgres', ['"a"', '"b"'], range, 3)).toEqual({
      sql: '("a", "b") > ($3, $4) AND ("a", "b") <= ($5, $6)',
      values: [1n, 'a', 9223372036854775807n, 'b'],
    });
    expect(rangePredicate('sqlite', ['a'], { from: null, to: [1] }).sql).toBe('a <= ?1');
  });

  it.each([null, true, {}, { int: '1.5' }, { int: 1 }, { hex: 'g0' }, [1]])('refuses %j', (json) =>
    expect(() => decodeKeyValue(json as never)).toThrow(TypeError),
  );
});

it('an operation is named by all that makes it', () => {
  const base = { table: 't', key: ['id'], work: { set: { a: 1 } }, run: null };
  const ids = [
    operationId(base),
    operationId({ ...base, table: 'u' }),
    operationId({ ...base, key: ['id', 'x'] }),
    operationId({ ...base, work: { statement: 'x' } }),
    operationId({ ...base, run: 'x' }),
  ];
  expect(new Set(ids).size).toBe(ids.length);
  expect(operationId({ run: null, work: { set: { a: 1 } }, key: ['id'], table: 't' })).toBe(ids[0]);
});
