import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { createWorkspace } from '#adapters/files';
import { createTargets } from '#adapters/sql';
import { sha256, type Json } from '#truth';
import type { Targets } from '../execute/targets.js';
import { ConfigError } from '../plan/stage-config.js';
import { decodeKeyValue } from '../sql/key-range.js';
import { bySqlBatch } from './by-sql-batch.js';
import { placesBetween } from './by-sql-batch-places.js';
import type { PartitionContext, PartitionSummary, ShardDraft } from './contract.js';

const folder = mkdtempSync(join(tmpdir(), 'hxo-by-sql-batch-'));
const path = join(folder, 'app.db');
const db = new Database(path);
// The file lives no longer than the spec.
db.pragma('synchronous = OFF');
db.pragma('journal_mode = MEMORY');
const targets: Targets = createTargets({
  addresses: { default: { dialect: 'sqlite', path } },
  forbidden: [join(folder, 'hxo')],
});
const context: PartitionContext = {
  workspace: createWorkspace({ root: folder, forbidden: [path] }),
  targets,
};

afterAll(async () => {
  db.close();
  await targets.open('default').close();
  rmSync(folder, { recursive: true });
});

interface Batch {
  readonly from: Json[] | null;
  readonly to: Json[];
  readonly place: string;
  readonly preflight?: boolean;
  readonly operation: string;
  readonly cut: string;
  readonly after: string | null;
  readonly recorded: number;
}

async function run(
  config: Record<string, Json>,
): Promise<{ drafts: ShardDraft[]; batches: Batch[]; summary: PartitionSummary }> {
  const shards = bySqlBatch.partition(bySqlBatch.parse(config), context);
  const drafts: ShardDraft[] = [];
  for (let next = await shards.next(); ; next = await shards.next()) {
    if (next.done) {
      const batches = drafts.map(({ inputs }) => inputs as unknown as Batch);
      return { drafts, batches: batches.filter(({ preflight }) => preflight !== true), summary: next.value };
    }
    drafts.push(next.value);
  }
}

const ledger_table = `CREATE TABLE hxo_ledger (operation text, item text, checksum text, detail text, state text,
  rows_changed bigint, applied_at text, PRIMARY KEY (operation, item))`;

/** Writes down what applying a batch would. */
function record({ operation, cut, place, from, to }: Batch): void {
  const write = db.prepare(`INSERT OR REPLACE INTO hxo_ledger VALUES (?, ?, ?, ?, 'applied', 0, '')`);
  write.run(operation, '', cut, '');
  write.run(operation, place, cut, JSON.stringify([from, to]));
}

it('has one batch after the other in SQLite, and not where the target is another or unknown', () => {
  const addresses = {
    default: { dialect: 'sqlite', path },
    pg: { dialect: 'postgres', url: 'postgres://it' },
  } as const;
  const several = { ...context, targets: createTargets({ addresses, forbidden: [] }) };
  const oneByOne = (target: string): boolean =>
    bySqlBatch.one_by_one!(bySqlBatch.parse({ target, table: 't' }), several);
  expect(['default', 'pg', 'gone'].map(oneByOne)).toEqual([true, false, false]);
});

describe('config', () => {
  it.each<[string, Record<string, Json>]>([
    ['batch_size', { table: 't', batch_size: 0 }],
    ['total_rows', { table: 't', total_rows: -1 }],
    ['key', { table: 't', key: [] }],
    ['key', { table: 't', key: ['a', 'a'] }],
    ['key', { key: 'id' }],
    ['set', { set: { a: 1 } }],
    ['set', { table: 't', set: { a: { sql: 'now()' } } }],
    ['set', { table: 't', set: {} }],
    ['statement', { table: 't', set: { a: 1 }, statement: 'UPDATE t SET a = 1 WHERE {range}' }],
    ['statement', { table: 't', statement: 'UPDATE t SET a = 1' }],
    ['migrations', { table: 't', migrations: 'm' }],
    ['migrations', { migrations: '../m' }],
    ['target', { target: 'Not A Name' }],
    ['run', { table: 't', run: 'a b' }],
    ['preflight', { preflight: 1 }],
    ['batchsize', { batchsize: 1 }],
  ])('refuses %s of %j, naming it', (field, config) => {
    const error = (): unknown => {
      try {
        return bySqlBatch.parse(config);
      } catch (thrown) {
        return thrown;
      }
    };
    expect(error()).toBeInstanceOf(ConfigError);
    expect(error()).toMatchObject({ field });
  });

  it('takes a column as a key of one', () => {
    expect(bySqlBatch.parse({ table: 't', key: 'id' })).toMatchObject({ key: ['id'], batch_size: 5_000 });
  });
});

describe('migration files', () => {
  const write = (name: string, sql: string): void => {
    mkdirSync(join(folder, 'migrations'), { recursive: true });
    writeFileSync(join(folder, 'migrations', name), sql);
  };

  it('are nothing when there are none, and then need no target', async () => {
    const nowhere = { ...context, targets: createTargets({ addresses: {}, forbidden: [] }) };
    await bySqlBatch.precheck!(bySqlBatch.parse({}), nowhere);
    expect(await run({})).toMatchObject({ drafts: [], summary: { matched: 0, taken: 0, truncated: 0 } });
    await bySqlBatch.precheck!(bySqlBatch.parse({ migrations: 'nowhere' }), nowhere);
    await expect(run({ migrations: 'nowhere' })).rejects.toThrow('nowhere');
  });

  it('are waves in bytewise order of their names, after a preflight of those that are pending', async () => {
    write('0002_b.sql', 'SELECT 2');
    write('0001_a.sql', 'SELECT 1');
    write('notes.txt', '');
    const { drafts, summary } = await run({});
    expect(summary).toEqual({ matched: 2, taken: 2, truncated: 0 });
    const shared = { target: 'default', root: 'migrations' };
    const rows = [['0001_a.sql', 8], ['0002_b.sql', 8]]; // prettier-ignore
    const digests = [sha256('SELECT 1'), sha256('SELECT 2')];
    expect(drafts).toEqual([
      { wave: 0, weight: 1, inputs: { ...shared, preflight: rows }, input_digests: digests },
      { wave: 1, weight: 8, inputs: { ...shared, file: rows[0] }, input_digests: [digests[0]] },
      { wave: 2, weight: 8, inputs: { ...shared, file: rows[1] }, input_digests: [digests[1]] },
    ]);
    expect((await run({ preflight: false })).drafts.map(({ wave }) => wave)).toEqual([0, 1]);
    const nowhere = { ...context, targets: createTargets({ addresses: {}, forbidden: [] }) };
    await expect(bySqlBatch.precheck!(bySqlBatch.parse({}), nowhere)).rejects.toMatchObject({
      field: 'target',
      message: expect.stringContaining('HXO_TARGET_DEFAULT_URL') as string,
    });
  });

  it('that are applied need no preflight, and may not have changed', async () => {
    db.exec(ledger_table);
    const applied = db.prepare(`INSERT INTO hxo_ledger VALUES ('migrations', ?, ?, '', 'applied', 0, '')`);
    applied.run('0001_a.sql', sha256('SELECT 1'));
    const some = await run({});
    expect(some.drafts[0]!.inputs).toMatchObject({ preflight: [['0002_b.sql', 8]] });
    applied.run('0002_b.sql', sha256('SELECT 2'));
    expect((await run({})).drafts.map(({ wave }) => wave)).toEqual([0, 1]);
    write('0001_a.sql', 'SELECT 3');
    await expect(run({})).rejects.toThrow(/^MIGRATION_DRIFT: 0001_a.sql/);
    db.exec("UPDATE hxo_ledger SET state = 'started' WHERE item = '0001_a.sql'");
    expect((await run({})).drafts[0]!.inputs).toMatchObject({ preflight: [['0001_a.sql', 8]] });
    db.exec('DROP TABLE hxo_ledger');
  });
});

describe('tables', () => {
  const refused = (config: Record<string, Json>): Promise<unknown> =>
    run({ set: { v: 1 }, ...config }).then(
      () => 'not refused',
      (error: Error) => error.message,
    );

  it('must exist, with columns, a unique key and no NULL in it', async () => {
    db.exec(`CREATE TABLE Customer (id INTEGER PRIMARY KEY, email TEXT UNIQUE, v, "odd ""name" TEXT);
      CREATE TABLE bare (v); CREATE TABLE pair (a TEXT, b INT, v, PRIMARY KEY (a, b));
      INSERT INTO Customer VALUES (1, NULL, 0, '');`);
    expect(await refused({ table: 'nothing' })).toContain('no table nothing');
    expect(await refused({ table: 'bare' })).toContain('no primary key');
    expect(await refused({ table: 'pair', key: ['b', 'a'] })).toContain('not unique');
    expect(await refused({ table: 'pair', key: 'a' })).toContain('not unique');
    expect(await refused({ table: 'Customer', key: 'x' })).toContain('no column x');
    expect(await refused({ table: 'Customer', key: 'email' })).toContain('NULL in email');
    expect(await refused({ table: 'Customer', set: { x: 1 } })).toContain('no column x');
    expect(await refused({ table: 'pair', set: { b: 1 } })).toContain('set: b belongs to the key');
    const statement = 'UPDATE pair SET v = 1, a = 2 WHERE {range}';
    await expect(run({ table: 'pair', statement })).rejects.toThrow('statement: a belongs to the key');
    const { batches } = await run({ table: 'customer', set: { 'odd "name': 'x' } });
    expect(batches).toMatchObject([{ table: 'Customer', key: ['id'], from: null, to: [1] }]);
  });

  it('are not cut by an index that compares its columns otherwise than they do', async () => {
    db.exec(`CREATE TABLE folded (id INTEGER PRIMARY KEY, k TEXT COLLATE NOCASE NOT NULL, v);
      CREATE UNIQUE INDEX folded_bytes ON folded (k COLLATE BINARY);
      CREATE TABLE other (k TEXT COLLATE NOCASE NOT NULL, v, PRIMARY KEY (k COLLATE RTRIM)) WITHOUT ROWID;
      CREATE TABLE same (k TEXT COLLATE NOCASE NOT NULL, r TEXT COLLATE rtrim NOT NULL, v, PRIMARY KEY (k), UNIQUE (r, k));
      INSERT INTO folded VALUES (1, 'a', 0), (2, 'A', 0), (3, 'b', 0);
      INSERT INTO same VALUES ('a', 'x', 0), ('B', 'x', 0);`);
    expect(await refused({ table: 'folded', key: 'k' })).toContain('[k] is not unique in table folded');
    expect(await refused({ table: 'other' })).toContain('no primary key to cut by');
    expect((await run({ table: 'folded', set: { v: 1 }, batch_size: 1 })).batches).toHaveLength(3);
    for (const key of [['k'], ['r', 'k']])
      expect((await run({ table: 'same', key, set: { v: 1 }, batch_size: 1 })).batches).toHaveLength(2);
  });

  it('keep big integers exact', async () => {
    db.exec('CREATE TABLE big (id INTEGER PRIMARY KEY, v)');
    const insert = db.prepare('INSERT INTO big VALUES (?, 0)');
    const keys = [-9223372036854775808n, 9007199254740992n, 9007199254740993n, 9223372036854775807n];
    for (const key of keys) insert.run(key);
    const { batches } = await run({ table: 'big', set: { v: 1 }, batch_size: 1 });
    expect(batches.map(({ to }) => decodeKeyValue(to[0]!))).toEqual(keys);
  });

  it.each([
    ['the largest', ['61', '62', 'fe', 'ff'], 2],
    ['the last of a small batch', ['61', 'fe', '62'], 2],
    ['the last of a large batch', [...Array.from({ length: 499 }, () => '61'), 'fe', '62'], 500],
  ])('are refused for a text in their key that is not UTF-8: %s', async (_, keys, batch_size) => {
    db.exec('DROP TABLE IF EXISTS texts; CREATE TABLE texts (g INT, k TEXT, v, PRIMARY KEY (g, k))');
    const insert = db.prepare('INSERT INTO texts VALUES (?, CAST(unhex(?) AS TEXT), 0)');
    keys.forEach((hex, i) => insert.run(i, hex));
    expect(await refused({ table: 'texts', batch_size })).toContain(
      'table texts has texts in k that are not',
    );
    // With the cap at a good one, what is behind it does not matter.
    expect(await refused({ table: 'texts', total_rows: 1 })).toBe('not refused');
    expect(await refused({ table: 'texts', total_rows: keys.indexOf('fe') + 1 })).toContain('not UTF-8');
    // The character that stands for such bytes may be in a text, though.
    db.exec(`UPDATE texts SET k = char(65533) || hex(k)`);
    expect(await refused({ table: 'texts', batch_size })).toBe('not refused');
  });

  it('empty, are no shard at all', async () => {
    db.exec('CREATE TABLE nobody (id INTEGER PRIMARY KEY, v)');
    expect(await run({ table: 'nobody', set: { v: 1 } })).toMatchObject({
      drafts: [],
      summary: { matched: 0, taken: 0, truncated: 0 },
    });
  });

  it('are taken up to total_rows', async () => {
    db.exec(`CREATE TABLE many (id INTEGER PRIMARY KEY, v);
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
      INSERT INTO many SELECT i * 2, 0 FROM n`);
    const { batches, summary } = await run({ table: 'many', set: { v: 1 }, batch_size: 30, total_rows: 70 });
    expect(summary).toEqual({ matched: 100, taken: 70, truncated: 30 });
    expect(batches.map(({ from, to }) => [from?.[0], to[0]])).toEqual([[undefined, 60], [60, 120], [120, 140]]); // prettier-ignore
  });

  const value = fc.oneof(fc.integer({ min: -50, max: 50 }), fc.constantFrom('', 'a', 'A', 'ab', 'é', '1'));
  const keys = fc.uniqueArray(fc.tuple(value, value), {
    maxLength: 60,
    selector: (key) => JSON.stringify(key),
  });
  const work = { table: 'tiles', set: { v: 1 } };
  const count = (batch: Batch): number => {
    const bind = (key: Json[]): unknown[] => key.map((part) => decodeKeyValue(part));
    const above = batch.from === null ? '1' : '(a, b) > (?, ?)';
    return db
      .prepare(`UPDATE tiles SET v = v + 1 WHERE ${above} AND (a, b) <= (?, ?)`)
      .run(...bind(batch.from ?? []), ...bind(batch.to)).changes;
  };
  const fill = (rows: readonly (readonly [unknown, unknown])[]): void => {
    const insert = db.prepare('INSERT OR IGNORE INTO tiles VALUES (?, ?, 0)');
    for (const row of rows) insert.run(...row);
  };
  const empty = (): void => {
    db.exec('DROP TABLE IF EXISTS tiles; DROP TABLE IF EXISTS hxo_ledger');
    db.exec(`CREATE TABLE tiles (a, b, v, PRIMARY KEY (a, b)); ${ledger_table}`);
  };

  it('have every row in exactly one batch, none of them too large, the same each time', async () => {
    await fc.assert(
      fc.asyncProperty(keys, fc.integer({ min: 1, max: 9 }), async (rows, batch_size) => {
        empty();
        fill(rows);
        const { batches, drafts, summary } = await run({ ...work, batch_size });
        expect(await run({ ...work, batch_size })).toEqual({ batches, drafts, summary });
        const sizes = batches.map(count);
        expect(sizes.every((size) => size >= 1 && size <= batch_size)).toBe(true);
        expect(batches).toHaveLength(Math.ceil(rows.length / batch_size));
        expect(db.prepare('SELECT count(*) FROM tiles WHERE v <> 1').pluck().get()).toBe(0);
        expect(summary).toEqual({ matched: rows.length, taken: rows.length, truncated: 0 });
      }),
      { numRuns: 60 },
    );
  });

  it('have no row in two batches of one backfill, whatever was applied before and however the table changes', async () => {
    const step = fc.record({
      batch_size: fc.integer({ min: 1, max: 9 }),
      applied: fc.array(fc.boolean(), { minLength: 60, maxLength: 60 }),
      gone: fc.array(fc.nat(59), { maxLength: 5 }),
      more: keys,
    });
    await fc.assert(
      fc.asyncProperty(keys, fc.array(step, { minLength: 1, maxLength: 4 }), async (rows, steps) => {
        empty();
        fill(rows);
        const done = new Set<string>();
        for (const { batch_size, applied, gone, more } of steps) {
          const { batches } = await run({ ...work, batch_size });
          for (const [i, batch] of batches.entries()) {
            if (done.has(batch.place) || applied[i % applied.length] === false) continue;
            count(batch);
            record(batch);
            done.add(batch.place);
          }
          for (const i of gone)
            db.exec(`DELETE FROM tiles WHERE rowid IN (SELECT rowid FROM tiles LIMIT 1 OFFSET ${i})`);
          fill(more);
        }
        const { batches } = await run({ ...work, batch_size: 7 });
        for (const place of done) expect(batches.some((batch) => batch.place === place)).toBe(true);
        const fresh = batches.filter(({ place }) => !done.has(place));
        const least = db.prepare('SELECT count(*) FROM tiles WHERE v = 0');
        fresh.forEach(count);
        expect(db.prepare('SELECT count(*) FROM tiles WHERE v > 1').pluck().get()).toBe(0);
        // What is left is what came later into ranges that were applied already.
        expect(least.pluck().get()).toBe(db.prepare('SELECT count(*) FROM tiles WHERE v = 0').pluck().get());
        expect(new Set(batches.map(({ place }) => place)).size).toBe(batches.length);
        expect([...batches].sort((a, b) => (a.place < b.place ? -1 : 1))).toEqual(batches);
      }),
      { numRuns: 60 },
    );
  });

  it('count as taken what was applied beyond total_rows', async () => {
    empty();
    fill(Array.from({ length: 20 }, (_, i) => [1, i + 1]));
    const { batches } = await run({ ...work, batch_size: 4 });
    // All but the first and the fourth: two runs of ranges, one of them on both sides of the cap.
    for (const i of [1, 2, 4]) record(batches[i]!);
    fill([[1, 5.5], [1, 30], [2, 0]]); // prettier-ignore
    const capped = await run({ ...work, batch_size: 4, total_rows: 6 });
    // Taken are the rows up to the sixth, which is 5.5, and beyond it 6 to 12 and 17 to 20.
    expect(capped.summary).toEqual({ matched: 23, taken: 17, truncated: 6 });
    const rows = 'SELECT count(*) FROM tiles WHERE v > 0';
    capped.batches.forEach(count);
    expect(db.prepare(rows).pluck().get()).toBe(17);
  });

  it('of large batches are cut as those of small ones are', async () => {
    empty();
    fill(Array.from({ length: 2_600 }, (_, i) => [(i * 7919) % 13, (i * 104_729) % 2_609]));
    const rows = db.prepare('SELECT count(*) FROM tiles').pluck().get() as number;
    const { batches, drafts } = await run({ ...work, batch_size: 600 });
    expect(batches.map(count)).toEqual([600, 600, 600, 600, rows - 2_400]);
    expect(drafts.map(({ weight }) => weight).slice(1)).toEqual([600, 600, 600, 600, rows - 2_400]);
    expect(db.prepare('SELECT count(*) FROM tiles WHERE v <> 1').pluck().get()).toBe(0);
    record(batches[1]!);
    record(batches[3]!);
    const again = (await run({ ...work, batch_size: 500 })).batches;
    expect(again.map(count)).toEqual([500, 100, 600, 500, 100, 600, rows - 2_400]);
  });

  it('name another operation for another run, key, table or work, and the same for another batch_size', async () => {
    const operation = async (more: Record<string, Json>): Promise<string> =>
      (await run({ table: 'many', set: { v: 1 }, ...more })).batches[0]!.operation;
    const known = await operation({});
    expect(await operation({ batch_size: 7, total_rows: 10 })).toBe(known);
    const others = [
      await operation({ run: 'again' }),
      await operation({ set: { v: 2 } }),
      await operation({ table: 'big' }),
    ];
    expect(new Set([known, ...others]).size).toBe(4);
  });
});

it('places between two places sort between them', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(99), fc.integer({ min: 1, max: 4 })), { maxLength: 12 }), (cuts) => {
      let places: string[] = [];
      for (const [gap, count] of cuts) {
        const at = gap % (places.length + 1);
        const between = placesBetween(places[at - 1] ?? null, places[at] ?? null);
        const fresh = Array.from({ length: count }, () => between.next().value);
        // Some of them are applied; the others may be cut again.
        const applied = fresh.filter((_, i) => (gap + i) % 3 !== 0);
        places = [...places.slice(0, at), ...applied, ...places.slice(at)];
        expect([...places].sort()).toEqual(places);
        expect(new Set(places).size).toBe(places.length);
      }
    }),
  );
});
