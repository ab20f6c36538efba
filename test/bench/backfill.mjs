/**
 * A backfill by HXO against a hand-written keyset loop on one connection: the same rows, the same statement, the same batch
 * size, alternating, on a fresh table each time. 2,000,000 rows in PostgreSQL, 1,000,000 in SQLite. What counts is the
 * ratio of the medians.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import pg from 'pg';
import { HxoClient } from '../../dist/apps/cli/src/client.js';
import { ServerProcess } from '../../dist/apps/cli/src/server-process.js';
import { PostgresServer } from '../../dist/test/e2e/support/postgres.js';

const batch_size = 5_000;
const rounds = 3;
/** Often enough to be exact; more often, the asking itself would take a core from the work. */
const poll_ms = 20;
const warm_up_rows = 2_000;
const warm_up_batch_size = 100;
/** HXO keeps a ledger, signs what it did and survives kills; it may take this much longer. */
const ratio_max = 1.5;
const server_main = fileURLToPath(new URL('../../dist/apps/api/src/main.js', import.meta.url));

/** Runs it. Returns a table of the runs and one of the medians; `met` tells whether both ratios are within the goal. */
export async function backfill() {
  const folder = await mkdtemp(join(tmpdir(), 'hxo-bench-'));
  const runs = [];
  try {
    for (const database of [await postgresDatabase(), sqliteDatabase(folder)]) {
      try {
        await alternate(database, folder, runs);
      } finally {
        await database.close();
      }
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  const medians = ['postgres', 'sqlite'].map((name) => medianRow(name, runs));
  return { tables: { runs, medians }, met: medians.every(({ met }) => met) };
}

async function alternate(database, folder, runs) {
  const { name, rows } = database;
  for (let round = 1; round <= rounds; round++) {
    for (const [by, work] of [
      ['loop', () => database.loop()],
      ['hxo', () => byHxo(database, join(folder, `home-${name}-${round}`))],
    ]) {
      await database.fill();
      const seconds = await work();
      const changed = await database.changedOnce();
      if (changed !== rows) throw new Error(`${by} changed ${changed} of ${rows} rows once.`);
      runs.push({ database: name, rows, round, by, seconds: Math.round(seconds * 100) / 100 });
      process.stdout.write(`${name} ${by}: ${seconds.toFixed(2)} s\n`);
    }
  }
}

/** Seconds from the submission of a plan to its certificate. */
async function byHxo({ url }, home) {
  const server = new ServerProcess(server_main, tmpdir(), {
    HXO_PORT: '0',
    HXO_HOME: home,
    HXO_WORKSPACE: tmpdir(),
    HXO_LOG_FILE: '',
    HXO_TARGET_DEFAULT_URL: url,
  });
  try {
    const client = new HxoClient({ url: await server.listening(), authorization: 'Admiral' });
    // As a server that has run for a while, it has its code compiled.
    await fill(client, 'warm_up', warm_up_batch_size);
    return await fill(client, 'item', batch_size);
  } finally {
    server.kill();
  }
}

/** Runs a plan over a table. Returns the seconds that it took. */
async function fill(client, table, batch_size) {
  const config = { table, batch_size, statement: `UPDATE ${table} SET n = n + 1 WHERE {range}` };
  const stages = [{ id: 'fill', kind: 'deploy.migrate', config }];
  const begun = performance.now();
  const { plan_id } = await client.createAndSubmit(JSON.stringify({ name: `bench ${table}`, stages }));
  for (;;) {
    const { phase, finished_at } = await client.status(plan_id);
    if (finished_at === null) await sleep(poll_ms);
    else if (phase === 'succeeded') return (performance.now() - begun) / 1000;
    else throw new Error(`The plan ended ${phase}.\n${JSON.stringify(await client.report(plan_id))}`);
  }
}

async function postgresDatabase() {
  const rows = 2_000_000;
  const server = await PostgresServer.start({ durable: true });
  const url = server.url();
  const run = (sql) => server.run(sql);
  const next =
    'SELECT max(id) AS last FROM (SELECT id FROM item WHERE id > $1 ORDER BY id LIMIT $2) AS batch';
  return {
    name: 'postgres',
    rows,
    url,
    fill: async () => {
      await run('DROP TABLE IF EXISTS item, warm_up, hxo_ledger');
      await run('CREATE TABLE warm_up (id bigint PRIMARY KEY, n bigint NOT NULL)');
      await run(`INSERT INTO warm_up SELECT i, 0 FROM generate_series(1, ${warm_up_rows}) AS g(i)`);
      await run('CREATE TABLE item (id bigint PRIMARY KEY, n bigint NOT NULL, label text NOT NULL)');
      await run(`INSERT INTO item SELECT i, 0, 'item ' || i FROM generate_series(1, ${rows}) AS g(i)`);
      await run('VACUUM ANALYZE item');
      await run('CHECKPOINT');
    },
    loop: async () => {
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      const begun = performance.now();
      for (let from = '0'; ;) {
        const to = (await client.query(next, [from, batch_size])).rows[0].last;
        if (to === null) break;
        await client.query('UPDATE item SET n = n + 1 WHERE id > $1 AND id <= $2', [from, to]);
        from = to;
      }
      const seconds = (performance.now() - begun) / 1000;
      await client.end();
      return seconds;
    },
    changedOnce: async () => Number((await run('SELECT count(*) AS n FROM item WHERE n = 1'))[0].n),
    close: () => server.dispose(),
  };
}

function sqliteDatabase(folder) {
  const rows = 1_000_000;
  const path = join(folder, 'app.db');
  const using = (work) => {
    const db = new Database(path);
    try {
      return work(db);
    } finally {
      db.close();
    }
  };
  return {
    name: 'sqlite',
    rows,
    url: `sqlite:${path}`,
    fill: async () => {
      await rm(path, { force: true });
      using((db) =>
        db.exec(`CREATE TABLE item (id INTEGER PRIMARY KEY, n INTEGER NOT NULL, label TEXT NOT NULL);
          WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < ${rows})
          INSERT INTO item SELECT i, 0, 'item ' || i FROM g;
          CREATE TABLE warm_up (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);
          INSERT INTO warm_up SELECT id, 0 FROM item WHERE id <= ${warm_up_rows}`),
      );
    },
    loop: async () =>
      using((db) => {
        const next = db
          .prepare('SELECT max(id) FROM (SELECT id FROM item WHERE id > ? ORDER BY id LIMIT ?)')
          .pluck();
        const change = db.prepare('UPDATE item SET n = n + 1 WHERE id > ? AND id <= ?');
        const begun = performance.now();
        for (let from = 0, to; (to = next.get(from, batch_size)) !== null; from = to) change.run(from, to);
        return (performance.now() - begun) / 1000;
      }),
    changedOnce: async () => using((db) => db.prepare('SELECT count(*) FROM item WHERE n = 1').pluck().get()),
    close: async () => undefined,
  };
}

function medianRow(name, runs) {
  const of = (by) => {
    const seconds = runs.filter((run) => run.database === name && run.by === by).map((run) => run.seconds);
    return seconds.sort((a, b) => a - b)[Math.floor(seconds.length / 2)];
  };
  const [loop_s, hxo_s] = [of('loop'), of('hxo')];
  const ratio = Math.round((hxo_s / loop_s) * 100) / 100;
  return { database: name, loop_s, hxo_s, ratio, goal: ratio_max, met: ratio <= ratio_max };
}
