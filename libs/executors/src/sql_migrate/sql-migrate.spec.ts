import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { bySqlBatch } from '../../../hxo/src/partition/by-sql-batch.js';
import {
  parseFields,
  sha256,
  type Cache,
  type CollectedShard,
  type ExecutorContext,
  type HttpClient,
  type Json,
  type ShardDraft,
  type ShardOutput,
  type Targets,
} from '#hxo/execute';
import { createArtifactStore, createWorkspace } from '#adapters/files';
import { createTargets, type TargetAddress } from '#adapters/sql';
import { PostgresServer } from '../../../../test/e2e/support/postgres.js';
import { sql_options } from './inputs.js';
import { sqlMigrate } from './sql-migrate.js';

/** Partitioner and executor together on real databases, shard by shard as the specs want them. */

const folder = mkdtempSync(join(tmpdir(), 'hxo-sql-migrate-'));
const workspace = createWorkspace({ root: folder, forbidden: [] });
const artifacts = createArtifactStore(join(folder, 'artifacts'));
let postgres: PostgresServer;
const opened: Targets[] = [];

beforeAll(async () => {
  postgres = await PostgresServer.start();
}, 60_000);
afterAll(async () => {
  for (const targets of opened) await targets.open('default').close();
  await postgres?.dispose();
  rmSync(folder, { recursive: true });
});

/** A worker's context, with connections of its own. */
function worker(address: TargetAddress): ExecutorContext & { readonly targets: Targets } {
  const targets = createTargets({ addresses: { default: address }, forbidden: [] });
  opened.push(targets);
  const signal = new AbortController().signal;
  return {
    artifacts,
    workspace,
    targets,
    signal,
    cache: {} as Cache,
    http: {} as HttpClient,
    log: () => undefined,
  };
}

let databases = 0;

async function newDatabase(dialect: string): Promise<TargetAddress> {
  const name = `db_${databases++}`;
  if (dialect === 'postgres') return { dialect, url: await postgres.database(name) };
  const path = join(folder, `${name}.db`);
  new Database(path).close();
  return { dialect: 'sqlite', path };
}

/** Drops a database, whoever is connected to it, and makes it again, empty. */
async function makeAgain(address: TargetAddress): Promise<void> {
  if (address.dialect === 'postgres') {
    const name = new URL(address.url).pathname.slice(1);
    await postgres.run(`DROP DATABASE ${name} WITH (FORCE)`);
    await postgres.database(name);
  } else {
    rmSync(address.path);
    new Database(address.path).close();
  }
}

/** A connection that was cut is noticed by the next statement, which HXO's shards are tried again for. */
async function untilConnected(context: { readonly targets: Targets }): Promise<void> {
  const connected = (): Promise<unknown> => one(context, 'SELECT 1').catch(() => null);
  for (const end = performance.now() + 10_000; (await connected()) === null;)
    expect(performance.now()).toBeLessThan(end);
}

async function shardsOf(config: Record<string, Json>, context: ExecutorContext): Promise<ShardDraft[]> {
  const drafts: ShardDraft[] = [];
  for await (const draft of bySqlBatch.partition(bySqlBatch.parse(config), context)) drafts.push(draft);
  return drafts;
}

function run(
  draft: ShardDraft,
  context: ExecutorContext,
  options: Record<string, Json> = {},
): Promise<ShardOutput> {
  const parsed = parseFields('sql_migrate', sql_options, options);
  const inputs = sqlMigrate.parse({ ...(draft.inputs as object), options: parsed });
  return sqlMigrate.run({ ordinal: 0, inputs, input_digests: draft.input_digests, attempt: 1 }, context);
}

const isPreflight = ({ inputs }: ShardDraft): boolean => 'preflight' in (inputs as object);

function writeFiles(files: Record<string, string>): string {
  const name = `migrations-${databases++}`;
  mkdirSync(join(folder, name));
  for (const [file, sql] of Object.entries(files)) writeFileSync(join(folder, name, file), sql);
  return name;
}

const one = async (context: { readonly targets: Targets }, sql: string): Promise<string> =>
  String((await context.targets.open('default').query(sql)).rows[0]?.[0]);

describe.each(['sqlite', 'postgres'])('on %s', (dialect) => {
  const counter = { table: 't', batch_size: 10, statement: 'UPDATE t SET n = n + 1 WHERE {range}' };

  async function table(
    rows: number,
  ): Promise<{ address: TargetAddress; context: ReturnType<typeof worker> }> {
    const address = await newDatabase(dialect);
    const context = worker(address);
    const values = Array.from({ length: rows }, (_, i) => `(${i + 1}, 0)`).join(', ');
    const target = context.targets.open('default');
    await target.script(`CREATE TABLE t (id bigint PRIMARY KEY, n bigint); INSERT INTO t VALUES ${values}`);
    return { address, context };
  }

  it('a batch that runs again has no effect and the same output', async () => {
    const { context } = await table(25);
    const drafts = await shardsOf(counter, context);
    expect(drafts.map(({ wave }) => wave)).toEqual([0, 1, 1, 1]);
    expect(await run(drafts[0]!, context)).toEqual({ value: { preflight: true, rows: 10 } });
    expect(await one(context, 'SELECT sum(n) FROM t')).toBe('0');
    for (let time = 0; time < 3; time++) {
      const outputs = [];
      for (const draft of drafts.slice(1).reverse()) outputs.push((await run(draft, context)).value);
      expect(outputs).toEqual([{ rows: 5 }, { rows: 10 }, { rows: 10 }]);
    }
    expect(await one(context, 'SELECT count(*) FROM t WHERE n <> 1')).toBe('0');
    expect(await one(context, 'SELECT count(*) FROM hxo_ledger')).toBe('4');
  });

  it('the same backfill, cut again after the table has grown, applies what is new alone', async () => {
    const { context } = await table(25);
    const [, first, , third] = await shardsOf(counter, context);
    await run(first!, context);
    await run(third!, context);
    const target = context.targets.open('default');
    await target.script('INSERT INTO t VALUES (-5, 0), (26, 0), (27, 0); DELETE FROM t WHERE id IN (10, 12)');
    const again = await shardsOf({ ...counter, batch_size: 4 }, context);
    for (const draft of again) await run(draft, context);
    // -5 came into a batch that had been applied.
    expect(await one(context, 'SELECT count(*) FROM t WHERE n <> 1')).toBe('1');
    expect(await one(context, 'SELECT n FROM t WHERE id = -5')).toBe('0');
    expect((await shardsOf(counter, context)).some(isPreflight)).toBe(false);
  });

  it('two plans that cut the same rows differently do not both apply theirs', async () => {
    const { address, context } = await table(40);
    const a = (await shardsOf(counter, context)).filter((draft) => !isPreflight(draft));
    const b = (await shardsOf({ ...counter, batch_size: 15 }, context)).filter(
      (draft) => !isPreflight(draft),
    );
    await run(a[1]!, context);
    const other = worker(address);
    for (const draft of b)
      await expect(run(draft, other)).rejects.toMatchObject({ code: 'BACKFILL_OVERTAKEN' });

    // One that knew of them may go on, and then the first may not.
    const c = (await shardsOf({ ...counter, batch_size: 15 }, other)).filter((draft) => !isPreflight(draft));
    await run(
      c.find((draft) => (draft.inputs as { place: string }).place.includes('/'))!,
      other,
    );
    await expect(run(a[3]!, context)).rejects.toMatchObject({ code: 'BACKFILL_OVERTAKEN' });
    expect(await run(a[1]!, context)).toEqual({ value: { rows: 10 } });

    // One that was cut before further batches were applied may not either, though it knows the latest cut.
    const d = await shardsOf({ ...counter, batch_size: 7 }, other);
    await run(c.at(-1)!, other);
    await expect(run(d.at(-1)!, context)).rejects.toMatchObject({ code: 'BACKFILL_OVERTAKEN' });
    await expect(run(d[0]!, context)).resolves.toBeDefined();
    expect(await one(context, 'SELECT max(n) FROM t')).toBe('1');
  });

  it('workers side by side, on the first batches of a new ledger, apply each once', async () => {
    const { address, context } = await table(60);
    const drafts = (await shardsOf(counter, context)).slice(1);
    const workers = [worker(address), worker(address), worker(address)];
    const all = workers.flatMap((each) => drafts.map((draft) => () => run(draft, each)));
    // A worker runs one shard at a time; the workers run at once.
    await Promise.all(
      workers.map(async (_, at) => {
        for (const work of all.slice(at * drafts.length, (at + 1) * drafts.length))
          expect(await work()).toEqual({ value: { rows: 10 } });
      }),
    );
    expect(await one(context, 'SELECT count(*) FROM t WHERE n <> 1')).toBe('0');
  });

  it('a database that was dropped and made again meanwhile is taken as it is now', async () => {
    const { address, context } = await table(10);
    const batches = async (asker: ExecutorContext): Promise<ShardDraft[]> =>
      (await shardsOf(counter, asker)).filter((draft) => !isPreflight(draft));
    const [batch] = await batches(context);
    await run(batch!, context);
    await makeAgain(address);
    // What was cut meanwhile comes from connections of its own, as in HXO.
    const other = worker(address);
    await other.targets.open('default').script('CREATE TABLE t (id bigint PRIMARY KEY, n bigint, m bigint)');
    await other.targets.open('default').script('INSERT INTO t VALUES (1, 0, 0), (2, 0, 0)');
    const again = await batches(other);
    await untilConnected(context);
    expect(await run(again[0]!, context)).toEqual({ value: { rows: 2 } });
    expect(await one(other, 'SELECT min(n) FROM t')).toBe('1');
    expect(await one(other, 'SELECT count(*) FROM hxo_ledger')).toBe('2');
    await makeAgain(address);
    await untilConnected(context);
    await expect(run(again[0]!, context)).rejects.toMatchObject({ code: 'TABLE_GONE' });
  });

  it('a column that was added since the last batch is there', async () => {
    const { address, context } = await table(10);
    for (const draft of await shardsOf(counter, context)) await run(draft, context);
    const other = worker(address);
    await other.targets.open('default').script('ALTER TABLE t ADD COLUMN m bigint');
    for (const draft of await shardsOf({ table: 't', set: { m: 3 } }, other)) await run(draft, context);
    expect(await one(other, 'SELECT count(*) FROM t WHERE m = 3')).toBe('10');
  });

  it('a dry run changes nothing, and knows what was applied', async () => {
    const { context } = await table(20);
    const drafts = (await shardsOf(counter, context)).slice(1);
    for (const draft of drafts)
      expect(await run(draft, context, { dry_run: true })).toEqual({ value: { rows: 10, dry_run: true } });
    expect((await context.targets.open('default').ledger()).exists).toBe(false);
    await run(drafts[0]!, context);
    await run(drafts[0]!, context, { dry_run: true });
    expect(await one(context, 'SELECT sum(n) FROM t')).toBe('10');
  });

  it('a lock that is held is waited for, and then the shard is tried again', async () => {
    const { address, context } = await table(5);
    const drafts = await shardsOf(counter, context);
    await worker(address)
      .targets.open('default')
      .transaction({ access: 'write' }, async (session) => {
        await session.query('UPDATE t SET n = 0');
        const waiting = run(drafts[0]!, context, { lock_timeout_ms: 100 });
        await expect(waiting).rejects.toMatchObject({ code: 'TARGET_LOCKED', verdict: 'retry' });
      });
    expect(await run(drafts[0]!, context)).toMatchObject({ value: { rows: 5 } });
  });

  it('values are bound and names are quoted', async () => {
    const { context } = await table(3);
    await context.targets.open('default').script('ALTER TABLE t ADD COLUMN "odd ""name; --" text');
    const set = { 'odd "name; --': `x'; DROP TABLE t; --`, n: 7 };
    for (const draft of await shardsOf({ table: 't', set }, context)) await run(draft, context);
    expect(await one(context, 'SELECT count(*) FROM t WHERE n = 7')).toBe('3');
    expect(await one(context, 'SELECT max("odd ""name; --") FROM t')).toBe(`x'; DROP TABLE t; --`);
  });

  it('inputs that were tampered with are refused', async () => {
    const { context } = await table(3);
    const draft = (await shardsOf(counter, context))[1]!;
    const inputs = draft.inputs as Record<string, Json>;
    const tamper = (change: object): Promise<unknown> =>
      run({ ...draft, inputs: { ...inputs, ...change } }, context);
    await expect(tamper({ statement: 'DELETE FROM t WHERE {range}' })).rejects.toMatchObject({
      code: 'BAD_INPUTS',
    });
    await expect(tamper({ table: 'u' })).rejects.toMatchObject({ code: 'TABLE_GONE' });
    await expect(tamper({ target: 'other' })).rejects.toMatchObject({ code: 'TARGET_UNKNOWN' });
    await expect(async () => tamper({ to: 3 })).rejects.toMatchObject({ code: 'BAD_INPUTS' });
  });

  it('a file is applied once, with what it set in its session gone behind it', async () => {
    const context = worker(await newDatabase(dialect));
    const setting = dialect === 'sqlite' ? 'PRAGMA recursive_triggers = on' : 'SET search_path = pg_catalog';
    const migrations = writeFiles({
      '01.sql': 'CREATE TABLE a (n int); INSERT INTO a VALUES (1), (2);',
      '02.sql': `INSERT INTO a VALUES (3); ${setting};`,
      '03.sql': 'CREATE TABLE b (n int);',
    });
    const [preflight, ...files] = await shardsOf({ migrations }, context);
    expect(await run(preflight!, context)).toEqual({ value: { preflight: true, files: 3 } });
    expect((await context.targets.open('default').ledger()).exists).toBe(false);
    for (let time = 0; time < 2; time++) {
      const outputs = [];
      for (const file of files) outputs.push((await run(file, context)).value);
      expect(outputs).toEqual([{ rows: 2 }, { rows: 1 }, { rows: 0 }]);
    }
    expect(await one(context, 'SELECT count(*) FROM a')).toBe('3');
    writeFileSync(join(folder, migrations, '01.sql'), 'SELECT 1 -- another');
    await expect(run(files[0]!, context)).rejects.toMatchObject({ code: 'FILE_CHANGED' });
    const sql = 'SELECT 1 -- another';
    const drifted = { ...files[0]!, input_digests: [sha256(sql)] };
    const inputs = { ...(drifted.inputs as object), file: ['01.sql', sql.length] };
    await expect(run({ ...drifted, inputs }, context)).rejects.toMatchObject({ code: 'MIGRATION_DRIFT' });
  });

  it('a file that fails half way leaves nothing', async () => {
    const context = worker(await newDatabase(dialect));
    const migrations = writeFiles({ '01.sql': 'CREATE TABLE a (n int); INSERT INTO nowhere VALUES (1);' });
    const [, file] = await shardsOf({ migrations }, context);
    await expect(run(file!, context)).rejects.toMatchObject({ code: 'SQL_ERROR', verdict: 'fail' });
    await expect(one(context, 'SELECT * FROM a')).rejects.toMatchObject({ code: 'SQL_ERROR' });
    expect(await one(context, 'SELECT count(*) FROM hxo_ledger')).toBe('0');
  });

  it('files that break a deferred constraint fail the preflight', async () => {
    const context = worker(await newDatabase(dialect));
    const migrations = writeFiles({
      '01.sql': `CREATE TABLE a (id int PRIMARY KEY);
        CREATE TABLE b (a int REFERENCES a DEFERRABLE INITIALLY DEFERRED);`,
      '02.sql': 'INSERT INTO b VALUES (1);',
    });
    const [preflight] = await shardsOf({ migrations }, context);
    for (const dry_run of [false, true])
      await expect(run(preflight!, context, { dry_run })).rejects.toMatchObject({ code: 'SQL_ERROR' });
  });

  it('a first batch that breaks a deferred constraint fails the preflight', async () => {
    const { context } = await table(3);
    await context.targets.open('default').script(`ALTER TABLE t ADD COLUMN m bigint
      CONSTRAINT deferred REFERENCES t DEFERRABLE INITIALLY DEFERRED`);
    const [preflight] = await shardsOf({ table: 't', set: { m: 9 } }, context);
    await expect(run(preflight!, context)).rejects.toMatchObject({ code: 'SQL_ERROR' });
  });

  it.each(['-- hxo: no-transaction\n', ''])(
    'a file of the lane that failed is mended, as %j',
    async (mended) => {
      const context = worker(await newDatabase(dialect));
      const lane = (line: string, sql: string): string =>
        `${line}CREATE TABLE IF NOT EXISTS a (n int); INSERT INTO ${sql} VALUES (1);`;
      const migrations = writeFiles({ '01.sql': lane('-- hxo: no-transaction\n', 'nowhere') });
      const [, failing] = await shardsOf({ migrations }, context);
      await expect(run(failing!, context)).rejects.toMatchObject({ code: 'SQL_ERROR' });
      writeFileSync(join(folder, migrations, '01.sql'), lane(mended, 'a'));
      const [preflight, file] = await shardsOf({ migrations }, context);
      expect(await run(preflight!, context)).toEqual({
        value: { preflight: true, files: mended === '' ? 1 : 0 },
      });
      await run(file!, context, { dry_run: true });
      const output = await run(file!, context);
      expect(output).toMatchObject({ value: { rows: 1 } });
      expect(await run(file!, context)).toEqual(output);
      expect(await one(context, 'SELECT count(*) FROM a')).toBe('1');
      // From now on it is applied, and may not change.
      writeFileSync(join(folder, migrations, '01.sql'), lane(mended, 'b'));
      await expect(shardsOf({ migrations }, context)).rejects.toThrow('MIGRATION_DRIFT');
    },
  );

  it.each(['COMMIT', 'DELETE FROM hxo_ledger'])('a file with %s is refused', async (sql) => {
    const context = worker(await newDatabase(dialect));
    const shards = await shardsOf({ migrations: writeFiles({ '01.sql': sql }) }, context);
    for (const shard of shards)
      await expect(run(shard, context)).rejects.toMatchObject({ code: 'MIGRATION_REFUSED' });
  });
});

describe('on sqlite alone', () => {
  const parents = `CREATE TABLE a (id INTEGER PRIMARY KEY);
    CREATE TABLE b (id INTEGER PRIMARY KEY, a REFERENCES a ON DELETE CASCADE);
    INSERT INTO a VALUES (1), (2); INSERT INTO b VALUES (1, 1), (2, 2);`;
  const rebuild = `PRAGMA foreign_keys = OFF; DROP TABLE IF EXISTS new_a;
    CREATE TABLE new_a (id INTEGER PRIMARY KEY, n INT); INSERT INTO new_a SELECT id, 0 FROM a;
    DROP TABLE a; ALTER TABLE new_a RENAME TO a;`;

  it('a table is rebuilt without its rows in others in the lane alone, which leaves no setting behind', async () => {
    const context = worker(await newDatabase('sqlite'));
    await context.targets.open('default').script(parents);
    const [, inside] = await shardsOf({ migrations: writeFiles({ '01.sql': rebuild }) }, context);
    await expect(run(inside!, context)).rejects.toMatchObject({
      code: 'MIGRATION_REFUSED',
      message: expect.stringContaining('-- hxo: no-transaction') as string,
    });
    const lane = { '01.sql': `-- hxo: no-transaction\n${rebuild}` };
    const [, file] = await shardsOf({ migrations: writeFiles(lane) }, context);
    await run(file!, context);
    expect(await one(context, 'SELECT count(*) FROM b')).toBe('2');
    expect(await one(context, 'SELECT sum(n) FROM a')).toBe('0');
    expect(await one(context, 'PRAGMA foreign_keys')).toBe('1');
    const failing = writeFiles({
      '02.sql': '-- hxo: no-transaction\nPRAGMA foreign_keys = OFF; SELECT nothing',
    });
    const [, failed] = await shardsOf({ migrations: failing }, context);
    await expect(run(failed!, context)).rejects.toMatchObject({ code: 'SQL_ERROR' });
    expect(await one(context, 'PRAGMA foreign_keys')).toBe('1');
  });
});

describe('on postgres alone', () => {
  /** Runs all shards of a plan as a worker that has just come; returns what they came to but for the preflight. */
  async function runAll(config: Record<string, Json>, address: TargetAddress): Promise<Json[]> {
    const context = worker(address);
    const values: Json[] = [];
    for (const draft of await shardsOf(config, context)) {
      const { value } = await run(draft, context);
      if (!isPreflight(draft)) values.push(value);
    }
    return values;
  }

  const ledgers = `SELECT string_agg(relnamespace::regnamespace::text, ',') FROM pg_class WHERE relname = 'hxo_ledger'`;

  it.each([
    ["a schema with the login's name", 'CREATE SCHEMA hxo'],
    ['a setting', 'CREATE SCHEMA "Odd"; ALTER ROLE hxo IN DATABASE @ SET search_path = "Odd", public'],
    ['its own move', 'CREATE SCHEMA "Odd"; ALTER TABLE hxo_ledger SET SCHEMA "Odd"'],
  ])('the ledger is found again after %s, and nothing is applied twice', async (_, move) => {
    const address = await newDatabase('postgres');
    const name = new URL((address as { url: string }).url).pathname.slice(1);
    const migrations = writeFiles({
      '01.sql':
        'CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT i, 0 FROM generate_series(1, 9) i;',
      '02.sql': 'UPDATE t SET n = n + 1;',
    });
    const fill = { table: 't', batch_size: 5, statement: 'UPDATE t SET n = n + 1 WHERE {range}' };
    expect(await runAll({ migrations }, address)).toEqual([{ rows: 9 }, { rows: 9 }]);
    expect(await runAll(fill, address)).toEqual([{ rows: 5 }, { rows: 4 }]);
    const before = await one(worker(address), ledgers);
    await postgres.run(move.replace('@', name), name);

    expect(await runAll({ migrations }, address)).toEqual([{ rows: 9 }, { rows: 9 }]);
    expect(await runAll(fill, address)).toEqual([{ rows: 5 }, { rows: 4 }]);
    expect(await one(worker(address), 'SELECT count(*) FROM t WHERE n <> 2')).toBe('0');
    expect(await one(worker(address), ledgers)).toBe(move.includes('hxo_ledger') ? '"Odd"' : before);
    writeFileSync(join(folder, migrations, '02.sql'), 'UPDATE t SET n = n + 2;');
    await expect(shardsOf({ migrations }, worker(address))).rejects.toThrow('MIGRATION_DRIFT: 02.sql');
  });

  it("a file that makes a schema with the login's name leaves the ledger where it is", async () => {
    const address = await newDatabase('postgres');
    const migrations = writeFiles({
      '0001.sql': 'CREATE TABLE a (n int); INSERT INTO a VALUES (1);',
      '0002.sql': 'CREATE SCHEMA hxo;',
      '0003.sql': 'INSERT INTO a VALUES (2), (3);',
    });
    for (let time = 0; time < 2; time++)
      expect(await runAll({ migrations }, address)).toEqual([{ rows: 1 }, { rows: 0 }, { rows: 2 }]);
    expect(await one(worker(address), 'SELECT count(*) FROM a')).toBe('3');
    expect(await one(worker(address), ledgers)).toBe('public');
    writeFileSync(join(folder, migrations, '0001.sql'), 'SELECT 1;');
    await expect(shardsOf({ migrations }, worker(address))).rejects.toThrow('MIGRATION_DRIFT: 0001.sql');
    const touching = writeFiles({ '01.sql': 'DELETE FROM public.hxo_ledger;' });
    await expect(runAll({ migrations: touching }, address)).rejects.toMatchObject({
      code: 'MIGRATION_REFUSED',
    });
  });

  it('several ledgers are refused, and a temporary table is none', async () => {
    const address = await newDatabase('postgres');
    const migrations = writeFiles({ '01.sql': 'CREATE TABLE a (n int);' });
    await runAll({ migrations }, address);
    const context = worker(address);
    const target = context.targets.open('default');
    await target.script('CREATE TEMPORARY TABLE hxo_ledger (n int)');
    expect(await target.ledger()).toEqual({ table: 'public.hxo_ledger', exists: true });
    await target.script('CREATE SCHEMA "Odd"; CREATE TABLE "Odd".hxo_ledger (LIKE public.hxo_ledger)');
    await expect(shardsOf({ migrations }, context)).rejects.toMatchObject({
      code: 'SEVERAL_LEDGERS',
      message: expect.stringContaining('"Odd".hxo_ledger, public.hxo_ledger') as string,
    });
  });

  it('a statement past its timeout is ended, and keys of every type tile', async () => {
    const context = worker(await newDatabase('postgres'));
    await context.targets.open('default').script(
      `CREATE SCHEMA s; CREATE TABLE s."Odd" (u uuid, at timestamptz, x numeric, n int DEFAULT 0, PRIMARY KEY (at, u, x));
       INSERT INTO s."Odd" SELECT gen_random_uuid(), now() + i % 7 * interval '1.000001 second', i / 3.0 FROM generate_series(1, 100) i`,
    );
    const statement = 'UPDATE s."Odd" SET n = n + 1 WHERE {range}';
    const drafts = await shardsOf({ table: 's.Odd', batch_size: 9, statement }, context);
    for (const draft of drafts) await run(draft, context);
    expect(await one(context, 'SELECT count(*) FROM s."Odd" WHERE n <> 1')).toBe('0');

    const slow = 'UPDATE s."Odd" SET n = 0 WHERE {range} AND pg_sleep(1) IS NOT NULL';
    const [first] = await shardsOf({ table: 's.Odd', statement: slow }, context);
    const begun = performance.now();
    await expect(run(first!, context, { statement_timeout_ms: 100 })).rejects.toMatchObject({
      code: 'STATEMENT_TIMEOUT',
      verdict: 'retry',
    });
    expect(performance.now() - begun).toBeLessThan(5_000);
  });

  it('an aborted shard cuts its connection, and the server ends its statement', async () => {
    const context = worker(await newDatabase('postgres'));
    await context.targets
      .open('default')
      .script('CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)');
    const statement = 'DELETE FROM t WHERE {range} AND pg_sleep(60) IS NOT NULL';
    const [draft] = await shardsOf({ table: 't', statement }, context);
    const abort = new AbortController();
    const running = run(draft!, { ...context, signal: abort.signal });
    setTimeout(() => abort.abort(new Error('told to stop')), 300);
    await expect(running).rejects.toThrow('told to stop');
    const [sleeping] = [`SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DELETE%pg_sleep%'`];
    for (const end = performance.now() + 10_000; (await one(context, sleeping)) !== '0';)
      expect(performance.now()).toBeLessThan(end);
    expect(await one(context, 'SELECT count(*) FROM t')).toBe('1');
  }, 20_000);
});

describe('options', () => {
  const options = (given: Record<string, Json>): Record<string, Json> =>
    parseFields('sql_migrate', sql_options, given);
  it.each<[string, Record<string, Json>, Record<string, Json>]>([
    ['table', { table: 't' }, {}],
    ['preflight', { preflight: false }, { dry_run: true }],
  ])('refuse %s in %j', (field, config, given) => {
    expect(() => sqlMigrate.checkOptions!(options(given), config)).toThrow(new RegExp(`^${field} `));
    sqlMigrate.checkOptions!(options({}), { ...config, ...(field === 'table' && { set: { a: 1 } }) });
  });
});

it('collects counts and a listing that depend on the shards alone', async () => {
  const base = { target: 'default', options: parseFields('sql_migrate', sql_options, {}) };
  const batch = { ...base, table: 't', key: ['id'], set: { n: 1 }, operation: 'o', place: 'p', cut: 'c' };
  const shard = (inputs: object, value: Json): CollectedShard => ({
    ...{ ordinal: 0, input_digests: [sha256('x')], digest: sha256('y'), value },
    inputs: inputs as Json,
  });
  const results = [
    shard(
      { ...batch, preflight: true, from: null, to: [1], after: null, recorded: 0 },
      { preflight: true, rows: 1 },
    ),
    shard({ ...batch, from: null, to: [1], after: null, recorded: 0 }, { rows: 1 }),
    shard({ ...batch, from: [1], to: [4], after: null, recorded: 0 }, { rows: 3 }),
  ];
  const collect = (): ReturnType<NonNullable<typeof sqlMigrate.collect>> =>
    sqlMigrate.collect!(
      (async function* () {
        yield* results;
      })(),
      worker({ dialect: 'sqlite', path: '/nowhere' }),
    );
  const output = await collect();
  expect(output).toMatchObject({
    value: { batches: 2, rows: 4, dry_run: false },
    artifacts: [{ name: 'ledger' }],
  });
  expect(output.digest).toBe(sha256('{"from":null,"rows":1,"to":[1]}\n{"from":[1],"rows":3,"to":[4]}\n'));
  expect(await collect()).toEqual(output);
});
