import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { backfill, started, useMigrating } from './support/migrating.js';
import { seededRandom } from './support/seeded.js';

/** A backfill whose server is killed over and over. */

const seed = Number(process.env.HXO_TEST_SEED ?? Date.now() % 1_000_000);
const kills = Number(process.env.HXO_TEST_KILLS ?? 10);
const migrating = useMigrating();

describe.each(['sqlite', 'postgres'])('on %s', (dialect) => {
  it(`each of 200,000 rows is changed once through ${kills} kills`, async () => {
    process.stdout.write(`backfill kill proof on ${dialect}: HXO_TEST_SEED=${seed}\n`);
    const random = seededRandom(seed);
    const { system, probe } = await migrating.setUp(dialect);
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
