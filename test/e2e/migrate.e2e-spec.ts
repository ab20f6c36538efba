import { readFileSync } from 'node:fs';
import { readPublicKey, verifyDocument } from '#truth';
import type { ReportView } from '#hxo';
import { backfill, files, started, useMigrating, type Migrating } from './support/migrating.js';

/** Migration files and backfills on real databases, SQLite and PostgreSQL alike. */

const migrating = useMigrating();

const failures = ({ failures: list }: ReportView): string[] => list.map(({ code }) => code);

describe.each(['sqlite', 'postgres'])('on %s', (dialect) => {
  const label = "it's; DROP TABLE item";
  const fill = backfill({ table: 'item', batch_size: 1_000, set: { label } });
  const stages = [files, { ...fill, dependencies: ['migrate'] }];

  /** Writes files that make and fill a table, starts the system, and runs them with a backfill behind. */
  async function migrated({ system, probe }: Awaited<ReturnType<Migrating['setUp']>>): Promise<ReportView> {
    system.write(
      'migrations/0001_create.sql',
      'CREATE TABLE item (id bigint PRIMARY KEY, n bigint NOT NULL, label text);',
    );
    system.write(
      'migrations/0002_fill.sql',
      `INSERT INTO item (id, n) ${probe.numbers(1, 2_500)};\n-- the end`,
    );
    await started(system, probe);
    return system.run(stages);
  }

  it('files and then a backfill are applied once, and certified with the root that every mode comes to', async () => {
    const { system, probe } = await migrating.setUp(dialect);
    const report = await migrated({ system, probe });
    expect(report).toMatchObject({ phase: 'succeeded', truth_certified: true, total_shards: 3 + 4 });
    const embedded = await migrated(await migrating.setUp(dialect, { mode: 'embedded' }));
    expect(embedded.merkle_root).toBe(report.merkle_root);
    expect(await probe.value(`SELECT count(*) FROM item WHERE label = 'it''s; DROP TABLE item'`)).toBe(
      '2500',
    );
    expect(report.stages.map(({ matched, taken }) => [matched, taken])).toEqual([[2, 2], [2_500, 2_500]]); // prettier-ignore
    const key = readPublicKey(readFileSync(system.key_path, 'utf8'));
    const [stored] = system.rows<{ envelope: string }>('SELECT envelope FROM certificate');
    expect(verifyDocument(stored!.envelope, [key])).toMatchObject({ ok: true, root: report.merkle_root });

    // The same plan once more has no effect: the files' preflight is gone, and so is the backfill's.
    await probe.run('UPDATE item SET label = NULL');
    const again = await system.run(stages);
    expect(again).toMatchObject({ phase: 'succeeded', total_shards: 2 + 3 });
    expect(await probe.value('SELECT count(*) FROM item WHERE label IS NULL')).toBe('2500');
    // A label makes it another backfill.
    const other = backfill({ table: 'item', set: { label: 'x' }, run: '2026-12' });
    expect(await system.run(other)).toMatchObject({ phase: 'succeeded' });
    expect(await probe.value(`SELECT count(*) FROM item WHERE label = 'x'`)).toBe('2500');
  }, 60_000);

  it('a dry run leaves data and ledger as they are', async () => {
    const { system, probe } = await migrating.setUp(dialect);
    await probe.run(
      `CREATE TABLE item (id bigint PRIMARY KEY, n bigint); INSERT INTO item ${probe.numbers(1, 3_000)}`,
    );
    system.write('migrations/0001_a.sql', 'CREATE TABLE made (a int);');
    system.write('migrations/0002_b.sql', 'INSERT INTO made VALUES (1);');
    await started(system, probe);
    const sqlite = dialect === 'sqlite' ? probe.url.replace('sqlite:', '') : undefined;
    const before = sqlite === undefined ? '' : readFileSync(sqlite).toString('base64');
    const report = await system.run([
      { ...files, config: { dry_run: true } },
      backfill({
        table: 'item',
        batch_size: 1_000,
        statement: 'UPDATE item SET n = n + 1 WHERE {range}',
        dry_run: true,
      }),
    ]);
    expect(report).toMatchObject({ phase: 'succeeded', total_shards: 3 + 4 });
    expect(await probe.value('SELECT sum(n) FROM item')).toBe('0');
    const tables =
      dialect === 'sqlite'
        ? `SELECT group_concat(name) FROM sqlite_schema WHERE type = 'table'`
        : `SELECT string_agg(tablename, ',') FROM pg_tables WHERE schemaname = 'public'`;
    expect(await probe.value(tables)).toBe('item');
    if (sqlite !== undefined) expect(readFileSync(sqlite).toString('base64')).toBe(before);
  });

  it('what does not work is found by the preflight, with nothing changed', async () => {
    const { system, probe } = await migrating.setUp(dialect);
    await probe.run(
      `CREATE TABLE item (id bigint PRIMARY KEY, n bigint); INSERT INTO item ${probe.numbers(1, 3_000)}`,
    );
    system.write('migrations/0001_good.sql', 'CREATE TABLE good (a int);');
    system.write('migrations/0002_bad.sql', 'ALTER TABLE nowhere ADD COLUMN a int;');
    await started(system, probe);
    const report = await system.run([
      files,
      backfill({ table: 'item', batch_size: 100, statement: 'UPDATE item SET wrong = 1 WHERE {range}' }),
    ]);
    expect(report).toMatchObject({ phase: 'failed', failed_shards: 2 });
    expect(failures(report)).toEqual(['SQL_ERROR', 'SQL_ERROR']);
    expect(report.failures[0]!.message).toContain('0002_bad.sql');
    expect(report.failures[0]!.message).toContain('nowhere');
    expect(await probe.value('SELECT sum(n) FROM item')).toBe('0');
    expect(await refusalOf(probe.value('SELECT * FROM good'))).toContain('good');
    // One file and 30 batches, and the bad file, wait for ever.
    expect(report.total_shards - report.failed_shards).toBe(2 + 30);
  });

  it('an applied file that has changed is refused before anything runs', async () => {
    const { system, probe } = await migrating.setUp(dialect);
    system.write('migrations/0001_a.sql', 'CREATE TABLE a (a int);');
    await started(system, probe);
    expect(await system.run(files)).toMatchObject({ phase: 'succeeded' });
    system.write('migrations/0001_a.sql', 'CREATE TABLE a (a int, b int);');
    system.write('migrations/0002_b.sql', 'CREATE TABLE b (a int);');
    const report = await system.run(files);
    expect(report).toMatchObject({ phase: 'failed', error: { code: 'PARTITION_FAILED' } });
    expect(report.error!.detail).toContain('MIGRATION_DRIFT: 0001_a.sql');
    expect(await refusalOf(probe.value('SELECT * FROM b'))).toContain('b');
  });

  it('files that cannot run in a transaction have a lane of their own, and say so', async () => {
    const { system, probe } = await migrating.setUp(dialect);
    const outside = dialect === 'sqlite' ? 'VACUUM;' : 'CREATE INDEX CONCURRENTLY a_a ON a (a); VACUUM a;';
    system.write('migrations/0001_a.sql', 'CREATE TABLE a (a int);');
    system.write('migrations/0002_b.sql', outside);
    await started(system, probe);
    const refused = await system.run(files);
    expect(failures(refused)).toEqual(['NEEDS_NO_TRANSACTION']);
    expect(refused.failures[0]!.message).toContain('-- hxo: no-transaction');
    system.write('migrations/0002_b.sql', `-- hxo: no-transaction\n${outside}`);
    expect(await system.run(files)).toMatchObject({ phase: 'succeeded', total_shards: 3 });
    const rows = `SELECT count(*) FROM hxo_ledger WHERE item = '0002_b.sql' AND state = 'applied' AND detail = 'no-transaction'`;
    expect(await probe.value(rows)).toBe('1');
  });
});

it('the example works, its backfill on a table that its files have just made', async () => {
  const { system, probe } = await migrating.setUp('sqlite');
  const people = `WITH p(id, n) AS (${probe.numbers(1, 12_000)})`;
  system.write(
    'examples/migrations/0001_customer.sql',
    'CREATE TABLE customer (id integer PRIMARY KEY, email text, email_key text);',
  );
  system.write(
    'examples/migrations/0002_people.sql',
    `INSERT INTO customer (id, email) ${people} SELECT id, 'P' || id FROM p;`,
  );
  await started(system, probe);
  const { plan_id } = await system.server.client.createAndSubmit(
    readFileSync('examples/migrate.json', 'utf8'),
  );
  expect(await system.ended(plan_id)).toMatchObject({ phase: 'succeeded', total_shards: 3 + 4 });
  expect(await probe.value(`SELECT count(*) FROM customer WHERE email_key = 'p' || id`)).toBe('12000');
});

/** What a database says of a query that it refuses; its own error classes are not those of the test's realm. */
function refusalOf(query: Promise<unknown>): Promise<string> {
  return query.then(
    () => 'It was not refused.',
    (error: unknown) => (error as Error).message,
  );
}
