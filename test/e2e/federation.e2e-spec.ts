import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { HxoClient } from '../../apps/cli/src/client.js';
import { watchPlan } from '../../apps/cli/src/watch.js';
import { scriptedStage, with_scripted, writeScript } from './support/scripted.js';
import { System } from './support/system.js';

/** What only a federated system can go through. */

const stage = { id: 'pack', kind: 'deploy.pack', config: { exclude: ['ok-*'], chunk_size_mb: 0.000_2 } };
const shards = 1_200;
const quiet = new System();
const stormy = new System(with_scripted);

afterAll(() => Promise.all([quiet.dispose(), stormy.dispose()]));

it('loses nothing to kills of a worker, the API and Redis, nor to FLUSHALL', async () => {
  quiet.writeMany(shards, 180);
  await quiet.start();
  const { merkle_root } = await quiet.run(stage);
  await quiet.server.process.stop();

  stormy.writeMany(shards, 180);
  await stormy.start();
  const plan_id = await stormy.submit(stage);
  const done = (part: number) =>
    stormy.until(plan_id, ({ done_shards }) => done_shards >= shards * part, 60_000);
  await done(0.1);
  stormy.fleet!.workers[0]!.kill();
  await stormy.addWorker();
  await done(0.3);
  await stormy.fleet!.redis.kill();
  await sleep(500);
  await stormy.fleet!.redis.launch();
  await done(0.5);
  process.kill(stormy.server.process.pid, 'SIGKILL');
  await stormy.start();
  await done(0.7);
  const redis = new Redis(stormy.fleet!.redis.url);
  await redis.flushall();

  const report = await stormy.ended(plan_id, 90_000);
  expect(report).toMatchObject({ phase: 'succeeded', done_shards: shards, merkle_root });
  expect(new Set(stormy.results().map(({ ordinal }) => ordinal)).size).toBe(shards);
  expect(stormy.results().length).toBe(shards);
  expect(stormy.rows('SELECT count(*) AS n FROM failure')).toEqual([{ n: 0 }]);
  expect(await stormy.verifyStore()).toMatchObject({ code: 0 });

  // Nothing of the plan stays behind in Redis.
  await sleep(1_000);
  const keys = await redis.keys('*');
  expect(
    keys.filter((key) => /:\d+$|:(wait|active|delayed|completed|failed)$|[0-9a-f]{8}-/.test(key)),
  ).toEqual([]);
  expect(await redis.xlen('{hxo}:reports')).toBe(0);
  redis.disconnect();
}, 240_000);

it('packs no token file that only the API is told of, and the workers have the same workspace all the same', async () => {
  const token = 'admiral-token-for-tests';
  quiet.write('admiral-token', token);
  quiet.write('beside-it', 'to be packed');
  const { url } = await quiet.start({ HXO_ADMIRAL_TOKEN_FILE: join(quiet.workspace, 'admiral-token') });
  const client = new HxoClient({ url, authorization: `Bearer ${token}` });
  const stages = [{ ...stage, config: { include: ['admiral-token', 'beside-it'] } }];
  const { plan_id } = await client.createAndSubmit(JSON.stringify({ name: 'closed', stages }));
  const display = { show: () => {}, end: () => {} };
  const signal = AbortSignal.timeout(20_000);
  const status = await watchPlan(client, plan_id, { display, note: () => {}, signal });
  expect(status).toMatchObject({ phase: 'succeeded', stages: [{ matched: 1, done_shards: 1 }] });
  await quiet.server.process.stop();
}, 60_000);

it('says within 10 seconds which executor no worker offers, and goes on once one does', async () => {
  writeScript(stormy, 'ok-1', 'ok-2');
  for (const worker of stormy.fleet!.workers) worker.kill();
  await stormy.addWorker({ HXO_WORKER_EXECUTORS: 'pack_backend' });
  const plan_id = await stormy.submit(scriptedStage('scripted', ['ok-*']));
  const waiting = await stormy.until(plan_id, ({ waiting_for }) => waiting_for !== null, 10_000);
  expect(waiting.waiting_for).toContain('executor scripted_thread');
  const { stdout } = await stormy.hxo('doctor');
  expect(stdout).toMatch(new RegExp(`warning +plan: ${plan_id} .* waits for .*executor scripted_thread`));
  await stormy.addWorker({ HXO_WORKER_EXECUTORS: 'scripted_thread,scripted_process' });
  expect(await stormy.ended(plan_id)).toMatchObject({ phase: 'succeeded', done_shards: 2 });
}, 60_000);

it('lets two groups of workers with other executors finish a mixed plan, each only its own stage', async () => {
  const scripts = Array.from({ length: 30 }, (_, i) => `ok-group-${i}`);
  writeScript(stormy, ...scripts);
  for (const worker of stormy.fleet!.workers) worker.kill();
  const packers = { HXO_WORKER_EXECUTORS: 'pack_backend' };
  const scripters = { HXO_WORKER_EXECUTORS: 'scripted_thread', HXO_WORKER_CONCURRENCY: '2' };
  const groups = {
    pack: [await stormy.addWorker(packers), await stormy.addWorker(packers)],
    scripted: [await stormy.addWorker(scripters)],
  };
  // Larger chunks than before: most are packed anew.
  const pack = { ...stage, config: { ...stage.config, chunk_size_mb: 0.000_4 } };
  const plan_id = await stormy.submit([pack, scriptedStage('scripted', ['ok-group-*'])]);
  expect(await stormy.ended(plan_id)).toMatchObject({ phase: 'succeeded', truth_certified: true });
  for (const [name, workers] of Object.entries(groups)) {
    const { items } = await stormy.server.client.shards(plan_id, { stage: name, limit: 1_000 });
    const executed = items.filter(({ reused }) => !reused);
    const used = new Set(executed.map(({ worker }) => Number(worker!.split('-').at(-1))));
    expect([...used].sort()).toEqual(workers.map(({ pid }) => pid).sort());
  }
}, 60_000);
