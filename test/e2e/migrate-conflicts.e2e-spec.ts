import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { PostgresServer } from './support/postgres.js';
import { System } from './support/system.js';

/**
 * Conflicts that PostgreSQL ends by rolling one transaction back, always that of the batch here: the batch is tried again,
 * and applied once.
 */

const database = 'app';
/** Without a preflight, the one transaction that meets the conflict is the one that applies the batch. */
const stage = {
  id: 'fill',
  kind: 'deploy.migrate',
  config: {
    table: 'counter',
    statement: 'UPDATE counter SET n = n + 1 WHERE {range}',
    preflight: false,
    // A conflict ends the wait for a lock here, never the lock's own timeout.
    lock_timeout_ms: 60_000,
  },
};
let postgres: PostgresServer;
let system: System;
let sessions: Client[];

beforeAll(async () => {
  postgres = await PostgresServer.start();
}, 60_000);
afterAll(() => postgres?.dispose());

beforeEach(async () => {
  system = new System({ HXO_TARGET_DEFAULT_URL: await postgres.database(database) });
  await run('CREATE TABLE counter (id bigint PRIMARY KEY, n bigint NOT NULL, note text)');
  await run('INSERT INTO counter (id, n) VALUES (1, 0), (2, 0)');
  sessions = [await postgres.connect(database), await postgres.connect(database)];
}, 60_000);
afterEach(async () => {
  for (const session of sessions) await session.end();
  await system.dispose();
  await postgres.run(`DROP DATABASE ${database} WITH (FORCE)`);
});

const run = (sql: string): ReturnType<PostgresServer['run']> => postgres.run(sql, database);

it('a batch that is the victim of a deadlock is tried again, and applied once', async () => {
  // The batch waits at the gate with row 1 locked, until the other session, which has row 2, waits for that row. Then it is
  // the batch that closes the circle, and it alone that looks for one before long.
  await run(`ALTER DATABASE ${database} SET deadlock_timeout = '20ms'`);
  await run(`CREATE FUNCTION pass_gate() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END'`);
  await run(`CREATE TRIGGER gate BEFORE UPDATE ON counter FOR EACH ROW WHEN (OLD.id = 1)
    EXECUTE FUNCTION pass_gate()`);
  const [gate, other] = sessions as [Client, Client];
  await gate.query('SELECT pg_advisory_lock(1)');
  await other.query(`SET deadlock_timeout = '10min'; SET application_name = 'other'; BEGIN`);
  await other.query('SELECT 1 FROM counter WHERE id = 2 FOR UPDATE');
  await system.start();
  const plan_id = await system.submit(stage);
  await waitsForLock('hxo');
  const row_1 = other.query('SELECT 1 FROM counter WHERE id = 1 FOR UPDATE');
  await waitsForLock('other');
  await gate.query('SELECT pg_advisory_unlock(1)');
  await row_1;
  await other.query('COMMIT');
  await expectRetriedOnce(plan_id, '40P01');
}, 60_000);

it('a batch that cannot be serialized is tried again, and applied once', async () => {
  await run(`ALTER DATABASE ${database} SET default_transaction_isolation = 'repeatable read'`);
  const [other] = sessions as [Client];
  await other.query(`BEGIN; UPDATE counter SET note = 'other' WHERE id = 2`);
  await system.start();
  const plan_id = await system.submit(stage);
  await waitsForLock('hxo');
  await other.query('COMMIT');
  await expectRetriedOnce(plan_id, '40001');
  expect(await run('SELECT note FROM counter WHERE id = 2')).toEqual([{ note: 'other' }]);
}, 60_000);

it('partitioning that is the victim of a deadlock is tried again', async () => {
  // It reads the ledger, then waits for the table. The circle is closed before it looks for one, and it alone looks.
  await run(`ALTER DATABASE ${database} SET deadlock_timeout = '3s'`);
  await run(`CREATE TABLE hxo_ledger (operation text, item text, checksum text, detail text, state text,
    rows_changed bigint, applied_at text, PRIMARY KEY (operation, item))`);
  const [other] = sessions as [Client];
  await other.query(`SET deadlock_timeout = '10min'; BEGIN; LOCK TABLE counter IN ACCESS EXCLUSIVE MODE`);
  await system.start();
  const plan_id = await system.submit(stage);
  await waitsForLock('hxo');
  await other.query('LOCK TABLE hxo_ledger IN ACCESS EXCLUSIVE MODE');
  await system.until(plan_id, ({ waiting_for }) => JSON.stringify(waiting_for).includes('40P01'));
  await other.query('COMMIT');
  expect(await system.ended(plan_id)).toMatchObject({ phase: 'succeeded', done_shards: 1, failures: [] });
}, 60_000);

async function waitsForLock(application: string): Promise<void> {
  const waiting = `SELECT 1 FROM pg_stat_activity WHERE datname = '${database}'
    AND application_name = '${application}' AND wait_event_type = 'Lock'`;
  for (const end = performance.now() + 30_000; (await run(waiting)).length === 0; await sleep(20))
    if (performance.now() > end) throw new Error(`${application} does not wait for a lock.`);
}

/** Sees the plan succeed with each row changed once, and the retry in shard and events. */
async function expectRetriedOnce(plan_id: string, sqlstate: string): Promise<void> {
  const report = await system.ended(plan_id);
  expect(report).toMatchObject({ phase: 'succeeded', truth_certified: true, done_shards: 1, failures: [] });
  expect(await run('SELECT id, n FROM counter ORDER BY id')).toEqual([
    { id: '1', n: '1' },
    { id: '2', n: '1' },
  ]);
  expect(await run(`SELECT rows_changed, state FROM hxo_ledger WHERE item <> ''`)).toEqual([
    { rows_changed: '2', state: 'applied' },
  ]);
  const { items } = await system.server.client.shards(plan_id, { limit: 10 });
  expect(items).toMatchObject([{ phase: 'done', attempt: 2, failures: 1, value: { rows: 2 } }]);
  const failed = await system.events('hxo.shard.failed', plan_id);
  const message = expect.stringContaining(`(${sqlstate})`) as string;
  const shards = [{ ordinal: 0, attempt: 1, code: 'TARGET_CONFLICT', message, final: false }];
  expect(failed).toMatchObject([{ data: { stage: 'fill', shards } }]);
}
