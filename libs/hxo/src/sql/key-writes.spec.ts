import type { SqlDialect, TargetTable } from '../execute/targets.js';
import { keyWriteFault } from './key-writes.js';

function table(name: string, columns: readonly string[]): TargetTable {
  const described = columns.map((column) => ({ name: column, quoted: `"${column}"`, nullable: false }));
  return { name, quoted: name, alias: name, columns: described, primary_key: [], unique_keys: [] };
}

const key = ['a', 'Big'];
const tables: Readonly<Record<SqlDialect, TargetTable>> = {
  postgres: table('public.t', ['a', 'Big', 'n']),
  sqlite: table('t', ['a', 'Big', 'n']),
};

function writes(dialect: SqlDialect, statement: string): string | null {
  return keyWriteFault({ statement }, key, tables[dialect], dialect);
}

const both = ['sqlite', 'postgres'] as const;

it.each([
  'UPDATE t SET a = 2, n = n + 1 WHERE {range}',
  'UPDATE T SET n = f(n, (1)), A = 2 WHERE {range}',
  'update "t" /* , */ set n = 1, "Big" = 2 where {range}',
  'UPDATE t SET (n, a) = (SELECT 1, 2) WHERE {range}',
  'UPDATE t SET n = 1, (n, "Big") = (1, 2) FROM u WHERE {range}',
  'UPDATE t AS x SET n = n IS DISTINCT FROM 1, a = 2 WHERE {range}',
  'WITH u AS (SELECT 1 AS i) UPDATE t SET a = 1 FROM u WHERE {range}',
  'INSERT INTO t (a, n) SELECT a, n FROM t WHERE {range} ON CONFLICT (a) DO UPDATE SET a = 3',
])('%s: writes the key', (statement) => {
  for (const dialect of both) expect(writes(dialect, statement)).toMatch(/^(a|Big) belongs to the key/);
});

it.each<[SqlDialect, string]>([
  ['postgres', 'UPDATE ONLY (public.t) SET a[1] = 2 WHERE {range}'],
  ['postgres', 'WITH d AS (UPDATE t SET a = 2 WHERE {range} RETURNING 1) DELETE FROM u'],
  ['postgres', 'MERGE INTO t USING u ON {range} WHEN MATCHED THEN UPDATE SET n = ARRAY[1, 2], a = 1'],
  ['sqlite', 'UPDATE OR IGNORE main.[T] SET `big` = 2 WHERE {range}'],
  ['sqlite', `UPDATE 't' SET 'a' = 2 WHERE {range}`],
  ['sqlite', 'UPDATE t SET Rowid = 2 WHERE {range}'],
])('%s, %s: writes the key', (dialect, statement) =>
  expect(writes(dialect, statement)).toContain('belongs to the key'),
);

it.each([
  'UPDATE t SET n = a WHERE a = 1 AND {range}',
  `UPDATE t SET n = 'x, a = 1' -- , a = 1
   WHERE {range}`,
  'UPDATE t SET n = (SELECT max(a) FROM u), "n" = CASE WHEN a = 1 THEN 2 END FROM v, a WHERE {range}',
  'UPDATE u SET a = t.a FROM t WHERE {range}',
  'UPDATE other.t SET a = 1 WHERE {range}',
  'INSERT INTO u (a, n) SELECT a, n FROM t WHERE {range} ON CONFLICT (a) DO UPDATE SET a = 3',
  'DELETE FROM t WHERE {range}',
])('%s: leaves it alone', (statement) => {
  for (const dialect of both) expect(writes(dialect, statement)).toBeNull();
});

it('names are told apart as each database does', () => {
  expect(writes('postgres', 'UPDATE t SET Big = 1, "A" = 2 WHERE {range}')).toBeNull();
  expect(writes('postgres', 'UPDATE "T" SET a = 1 WHERE {range}')).toBeNull();
  expect(writes('sqlite', 'UPDATE t SET Big = 1 WHERE {range}')).toContain('Big');
  expect(writes('postgres', 'UPDATE t SET oid = 1 WHERE {range}')).toBeNull();
});

it('set may not have columns of the key', () => {
  const fault = (set: Record<string, number>): string | null =>
    keyWriteFault({ set }, key, tables.sqlite, 'sqlite');
  expect(fault({ n: 1, Big: 2 })).toContain('Big belongs to the key');
  expect(fault({ n: 1 })).toBeNull();
});
