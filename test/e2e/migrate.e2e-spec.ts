import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { readPublicKey, verifyDocument } from '#truth';
import type { ReportView } from '#hxo';
import { PostgresServer, postgres_password } from './support/postgres.js';
import { seededRandom } from './support/seeded.js';
import { System } from './support/system.js';

/** Migration files and backfills on real databases, SQLite and PostgreSQL alike. */

/** A database that specs look into from outside. */
interface Probe {
  readonly url: string;
  run(sql: string): Promise<void>;
  /** The first column of the first row, as text. */
  value(sql: string): Promise<string>;
  /** Statements that both understand, but for their numbers. */
  readonly numbers: (from: number, to: number) => string;
}

const systems: System[] = [];
let postgres: PostgresServer;
let databases = 0;

beforeAll(async () => {
  postgres = await PostgresServer.start();
}, 60_000);
afterAll(async () => {
  await Promise.all(systems.map((system) => system.dispose()));
  await postgres?.dispose();
});

const seed = Number(process.env.HXO_TEST_SEED ?? Date.now() % 1_000_000);
const kills = Number(process.env.HXO_TEST_KILLS ?? 10);

function sqliteProbe(system: System): Probe {
  const path = join(system.folder, `app-${databases++}.db`);
  writeFileSync(path, '');
  const open = <T>(work: (db: Database.Database) => T): T => {
    const db = new Database(path);
    try {
      return work(db);
    } finally {
      db.close();
    }
  };
  return {
    url: `sqlite:${path}`,
    run: async (sql) => open((db) => void db.exec(sql)),
    value: async (sql) => open((db) => String(db.prepare(sql).pluck().get())),
    numbers: (from, to) =>
      `WITH RECURSIVE g(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM g WHERE i < ${to}) SELECT i, 0 FROM g`,
  };
}

async function postgresProbe(): Promise<Probe> {
  const name = `app_${databases++}`;
  return {
    url: await postgres.database(name),
    run: async (sql) => void (await postgres.run(sql, name)),
    value: async (sql) => String(Object.values((await postgres.run(sql, name))[0]!)[0]),
    numbers: (from, to) => `SELECT i, 0 FROM generate_series(${from}, ${to}) AS g(i)`,
  };
}

/** A system of its own, not started, and its target. */
async function setUp(dialect: string): Promise<{ system: System; probe: Probe }> {
  const system = new System();
  systems.push(system);
  return { system, probe: dialect === 'sqlite' ? sqliteProbe(system) : await postgresProbe() };
}

const started = (system: System, probe: Probe): ReturnType<System['start']> =>
  system.start({ HXO_TARGET_DEFAULT_URL: probe.url });

const files = { id: 'migrate', kind: 'deploy.migrate' };
const backfill = (config: object): object => ({ id: 'fill', kind: 'deploy.migrate', config });
const failures = ({ failures: list }: ReportView): string[] => list.map(({ code }) => code);

describe.each(['sqlite', 'postgres'])('on %s', (dialect) => {
  it('files and then a backfill are applied once, and certified', async () => {
    const { system, probe } = await setUp(dialect);
    system.write(
      'migrations/0001_create.sql',
      'CREATE TABLE item (id bigint PRIMARY KEY, n bigint NOT NULL, label text);',
    );
    system.write(
      'migrations/0002_fill.sql',
      `INSERT INTO item (id, n) ${probe.numbers(1, 2_500)};\n-- the end`,
    );
    await started(system, probe);
    const fill = backfill({ table: 'item', batch_size: 1_000, set: { label: "it's; DROP TABLE item" } });
    const stages = [files, { ...fill, dependencies: ['migrate'] }];
    const report = await system.run(stages);
    expect(report).toMatchObject({ phase: 'succeeded', truth_certified: true, total_shards: 3 + 4 });
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
  });

  it('a dry run leaves data and ledger as they are', async () => {
    const { system, probe } = await setUp(dialect);
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
    const { system, probe } = await setUp(dialect);
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
    const { system, probe } = await setUp(dialect);
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
    const { system, probe } = await setUp(dialect);
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

  it(`each of 200,000 rows is changed once through ${kills} kills`, async () => {
    process.stdout.write(`backfill kill proof on ${dialect}: HXO_TEST_SEED=${seed}\n`);
    const random = seededRandom(seed);
    const { system, probe } = await setUp(dialect);
    const rows = 200_000;
    await probe.run(
      `CREATE TABLE counter (id bigint PRIMARY KEY, n bigint NOT NULL); INSERT INTO counter ${probe.numbers(1, rows)}`,
    );
    let server = (await started(system, probe)).process;
    const statement = 'UPDATE counter SET n = n + 1 WHERE {range}';
    const plan_id = await system.submit(
      backfill({ table: 'counter', batch_size: 1_000, statement, pause_ms: 20 }),
    );
    for (let kill = 0; kill < kills; kill++) {
      const least = Math.floor(((kill + random()) / kills) * 180);
      await system.until(
        plan_id,
        ({ done_shards, finished_at }) => done_shards >= least || finished_at !== null,
      );
      await sleep(random() * 40);
      const alone = random() < 0.5;
      if (alone) process.kill(server.pid, 'SIGKILL');
      else server.kill();
      if (!server.gone.aborted) await once(server.gone, 'abort');
      server = (await started(system, probe)).process;
    }
    const report = await system.ended(plan_id, 120_000);
    expect(report).toMatchObject({
      phase: 'succeeded',
      truth_certified: true,
      failures: [],
      done_shards: 201,
    });
    expect(await probe.value('SELECT count(*) FROM counter WHERE n <> 1')).toBe('0');
    expect(await probe.value('SELECT sum(n) FROM counter')).toBe(String(rows));
    expect(await probe.value(`SELECT sum(rows_changed) FROM hxo_ledger`)).toBe(String(rows));
  }, 240_000);
});

it('files without a target are refused, naming the variable; no files need none', async () => {
  const { system } = await setUp('sqlite');
  system.write('src/a.txt', 'a');
  await system.start();
  const first_plan = [
    { id: 'pack', kind: 'deploy.pack', slo_ms: 120_000 },
    { id: 'migrate', kind: 'deploy.migrate', slo_ms: 30_000 },
  ];
  expect(await system.run(first_plan)).toMatchObject({ phase: 'succeeded', total_shards: 1 });
  system.write('migrations/0001_a.sql', 'SELECT 1');
  const answer = await system.ask('POST', '/api/hxo/create-and-submit', {
    body: { name: 'p', stages: first_plan },
  });
  expect(answer).toMatchObject({ status: 422, body: { code: 'BLUEPRINT_VIOLATION' } });
  expect(JSON.stringify(answer.body)).toContain('HXO_TARGET_DEFAULT_URL');
});

it('the example works, its backfill on a table that its files have just made', async () => {
  const { system, probe } = await setUp('sqlite');
  const people = `WITH p(id, n) AS (${probe.numbers(1, 12_000)})`;
  system.write(
    'migrations/0001_customer.sql',
    'CREATE TABLE customer (id integer PRIMARY KEY, email text, email_key text);',
  );
  system.write(
    'migrations/0002_people.sql',
    `INSERT INTO customer (id, email) ${people} SELECT id, 'P' || id FROM p;`,
  );
  await started(system, probe);
  const { plan_id } = await system.server.client.createAndSubmit(
    readFileSync('examples/migrate.json', 'utf8'),
  );
  expect(await system.ended(plan_id)).toMatchObject({ phase: 'succeeded', total_shards: 3 + 4 });
  expect(await probe.value(`SELECT count(*) FROM customer WHERE email_key = 'p' || id`)).toBe('12000');
});

it('a database that is away is waited for, and its password is shown nowhere', async () => {
  const { system } = await setUp('sqlite');
  const away = `postgres://someone:${postgres_password}@127.0.0.1:1/nowhere`;
  const wrong = `postgres://someone:${postgres_password}@127.0.0.1:${postgres.port}/nowhere`;
  system.write('migrations/0001_a.sql', 'SELECT 1');
  const { process: server } = await system.start({
    HXO_TARGET_DEFAULT_URL: away,
    HXO_TARGET_WRONG_URL: wrong,
    HXO_LOG_LEVEL: 'trace',
  });
  const waiting = await system.submit(files);
  const status = await system.until(waiting, (now) => JSON.stringify(now).includes('cannot be reached'));
  const refused = await system.run({ ...files, config: { target: 'wrong' } });
  expect(refused).toMatchObject({ phase: 'failed', error: { code: 'PARTITION_FAILED' } });
  expect(refused.error!.detail).toContain('HXO_TARGET_WRONG_URL');
  const own = await system.run({ ...files, config: { target: 'wrong' } });
  const said = JSON.stringify([status, refused, own, await system.events('*')]) + server.logTail();
  expect(said).not.toContain(postgres_password);
  expect(readFileSync(system.db_path, 'latin1')).not.toContain(postgres_password);
});

it("HXO's own database is no target", async () => {
  const { system } = await setUp('sqlite');
  system.write('migrations/0001_a.sql', 'SELECT 1');
  await system.start({ HXO_TARGET_DEFAULT_URL: `sqlite:${system.db_path}` });
  const report = await system.run(files);
  expect(report).toMatchObject({ phase: 'failed', error: { code: 'PARTITION_FAILED' } });
  expect(report.error!.detail).toContain("one of HXO's own files");
});

/** What a database says of a query that it refuses; its own error classes are not those of the test's realm. */
function refusalOf(query: Promise<unknown>): Promise<string> {
  return query.then(
    () => 'It was not refused.',
    (error: unknown) => (error as Error).message,
  );
}
