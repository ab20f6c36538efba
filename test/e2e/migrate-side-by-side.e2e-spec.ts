import Database from 'better-sqlite3';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PostgresServer } from './support/postgres.js';
import { System } from './support/system.js';

/** What runs at the same time on one target, and what must not. */

let system: System;
afterEach(() => system.dispose());

it('batches of SQLite that take longer than the wait for its lock run one by one, and fail none of them', async () => {
  const batches = 6;
  const lock_timeout_ms = 100;
  system = new System();
  const path = join(system.folder, 'app.db');
  const db = new Database(path);
  db.exec('CREATE TABLE item (id integer PRIMARY KEY, n integer)');
  for (let id = 1; id <= batches; id++) db.exec(`INSERT INTO item VALUES (${id}, 0)`);
  db.close();
  await system.start({ HXO_TARGET_DEFAULT_URL: `sqlite:${path}` });
  const counting = `WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 3000000) SELECT count(*) FROM c`;
  const statement = `UPDATE item SET n = n + (${counting}) WHERE {range}`;
  const begun = performance.now();
  const config = { table: 'item', batch_size: 1, preflight: false, lock_timeout_ms, statement };
  const plan_id = await system.submit({ id: 'fill', kind: 'deploy.migrate', config });
  expect(await system.ended(plan_id)).toMatchObject({ phase: 'succeeded', done_shards: batches });
  expect(performance.now() - begun).toBeGreaterThan(batches * 2 * lock_timeout_ms);
  const { items } = await system.server.client.shards(plan_id, { limit: batches });
  expect(items.map(({ attempt, failures }) => [attempt, failures])).toEqual(Array(batches).fill([1, 0]));
}, 60_000);

describe('on postgres', () => {
  let postgres: PostgresServer;
  beforeAll(async () => {
    postgres = await PostgresServer.start();
  }, 60_000);
  afterAll(() => postgres?.dispose());

  it('plans that are partitioned at the same time each have a connection and a transaction', async () => {
    const run = (sql: string): ReturnType<PostgresServer['run']> => postgres.run(sql, 'app');
    system = new System({ HXO_TARGET_DEFAULT_URL: await postgres.database('app') });
    for (const table of ['a', 'b'])
      await run(`CREATE TABLE ${table} (id bigint PRIMARY KEY, n bigint);
        INSERT INTO ${table} SELECT i, 0 FROM generate_series(1, 1000) i`);
    await system.start();
    // Both are in the midst of their transactions when the lock is let go.
    const holder = await postgres.connect('app');
    const plans: string[] = [];
    try {
      await holder.query('BEGIN; LOCK TABLE a, b IN ACCESS EXCLUSIVE MODE');
      for (const table of ['a', 'b']) {
        const config = { table, batch_size: 100, set: { n: 1 } };
        plans.push(await system.submit({ id: 'fill', kind: 'deploy.migrate', config }));
      }
      const waiting = `SELECT pid FROM pg_stat_activity WHERE datname = 'app' AND application_name = 'hxo' AND wait_event_type = 'Lock'`;
      for (const end = performance.now() + 20_000; (await run(waiting)).length < 2; await sleep(20))
        if (performance.now() > end) throw new Error('The two plans do not wait for the lock side by side.');
      await holder.query('COMMIT');
    } finally {
      await holder.end();
    }
    for (const plan of plans)
      expect(await system.ended(plan)).toMatchObject({ phase: 'succeeded', done_shards: 1 + 10 });
    for (const table of ['a', 'b'])
      expect(await run(`SELECT count(*) FROM ${table} WHERE n = 1`)).toEqual([{ count: '1000' }]);
  }, 60_000);
});
