import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ReportView } from '#hxo';
import { backfill, started, useMigrating, type Probe } from './support/migrating.js';
import { seededRandom } from './support/seeded.js';

/** Backfills whose server, or whose worker, is killed over and over. */

const seed = Number(process.env.HXO_TEST_SEED ?? Date.now() % 1_000_000);
const kills = Number(process.env.HXO_TEST_KILLS ?? 5);
/** Fewer: what a killed worker had is waited for until its lease is over. */
const worker_kills = Number(process.env.HXO_TEST_KILLS ?? 2);
const rows = 200_000;
/** Large enough that a kill comes before the end of a transaction that was seen. */
const worker_batch = Math.floor(rows / (worker_kills + 18));
const migrating = useMigrating();

describe.each(['sqlite', 'postgres'])('on %s', (dialect) => {
  it(`each of 200,000 rows is changed once through ${kills} kills`, async () => {
    process.stdout.write(`backfill kill proof on ${dialect}: HXO_TEST_SEED=${seed}\n`);
    const random = seededRandom(seed);
    const { system, probe } = await migrating.setUp(dialect);
    await makeCounter(probe);
    let server = (await started(system, probe)).process;
    const plan_id = await system.submit(countUp(1_000));
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
    await expectEachOnce(await system.ended(plan_id, 120_000), probe, 1_000);
  }, 240_000);

  it(
    `each of 200,000 rows is changed once through ${worker_kills} kills of a worker in the middle of a batch`,
    async () => {
      const { system, probe } = await migrating.setUp(dialect, { mode: 'federated' });
      await makeCounter(probe);
      await started(system, probe);
      const target = { HXO_TARGET_DEFAULT_URL: probe.url };
      const { workers } = system.fleet!;
      // One worker at a time: a transaction that is open is its own. It is killed with the processes of its pool.
      workers[1]!.kill();
      const plan_id = await system.submit(countUp(worker_batch));
      let interrupted = 0;
      for (let kill = 0; kill < worker_kills; kill++) {
        // Another shard each time, and what the last one left has been rolled back: a shard whose leases were lost 20 times fails.
        await system.until(plan_id, ({ done_shards }) => done_shards > kill, 90_000);
        for (const open of [false, true]) await untilTransaction(probe, open);
        const worker = workers.at(kill === 0 ? 0 : -1)!;
        worker.kill();
        if (!worker.gone.aborted) await once(worker.gone, 'abort');
        if (await probe.inTransaction()) interrupted++;
        await system.addWorker(target);
      }
      // PostgreSQL may have noticed, and rolled back, before it is asked.
      process.stdout.write(
        `at least ${interrupted} of ${worker_kills} kills of a worker interrupted a transaction\n`,
      );
      await expectEachOnce(await system.ended(plan_id, 240_000), probe, worker_batch);
      if (dialect === 'sqlite') expect(interrupted).toBeGreaterThan(0);
    },
    120_000 + worker_kills * 60_000,
  );
});

const countUp = (batch_size: number): object =>
  backfill({
    ...{ table: 'counter', batch_size, pause_ms: 20 },
    statement: 'UPDATE counter SET n = n + 1 WHERE {range}',
  });

async function makeCounter(probe: Probe): Promise<void> {
  await probe.run(
    `CREATE TABLE counter (id bigint PRIMARY KEY, n bigint NOT NULL); INSERT INTO counter ${probe.numbers(1, rows)}`,
  );
}

/** All batches were applied, and a preflight. */
async function expectEachOnce(report: ReportView, probe: Probe, batch_size: number): Promise<void> {
  expect(report).toMatchObject({
    phase: 'succeeded',
    truth_certified: true,
    failures: [],
    done_shards: 1 + Math.ceil(rows / batch_size),
  });
  expect(await probe.value('SELECT count(*) FROM counter WHERE n <> 1')).toBe('0');
  expect(await probe.value('SELECT sum(n) FROM counter')).toBe(String(rows));
  expect(await probe.value(`SELECT sum(rows_changed) FROM hxo_ledger`)).toBe(String(rows));
}

async function untilTransaction(probe: Probe, open: boolean): Promise<void> {
  const end = performance.now() + 90_000;
  while ((await probe.inTransaction()) !== open) {
    if (performance.now() > end)
      throw new Error(`No transaction has ${open ? 'begun' : 'ended'} within 90 s.`);
    await sleep(1);
  }
}
