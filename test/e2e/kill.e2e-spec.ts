import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { readPublicKey, verifyDocument } from '#truth';
import type { ServerProcess } from '../../apps/cli/src/server-process.js';
import { leftOf } from './support/processes.js';
import { seededRandom } from './support/seeded.js';
import { System } from './support/system.js';

/**
 * A plan that is killed at ten random moments ends as if nothing had happened: SIGKILL to the API, its pool left to find
 * out by itself or killed with it, then a restart. What counts is read from the store's file and from signed bytes.
 */

const files = 5_050;
const kills = 10;
const stage = { id: 'pack', kind: 'deploy.pack', config: { chunk_size_mb: 0.000_2 } };

/** Where a plan stands, read from the store's file: a server that is starting up can be killed by it too. */
interface Standing {
  readonly phase: string;
  readonly stage_phase: string;
  readonly total: number;
  readonly done: number;
}

/** When to kill: at a standing, and a random time after it. */
interface Moment {
  readonly name: string;
  /** A resumed plan may be past it before its server listens. */
  readonly brief?: boolean;
  readonly reached: (at: Standing) => boolean;
}

const quiet = new System();
const stormy = new System();

afterAll(() => Promise.all([quiet.dispose(), stormy.dispose()]));

it(`survives ${kills} kills: one result per shard, no retry spent, the root of a quiet run`, async () => {
  const seed = Number(process.env.HXO_TEST_SEED ?? Date.now() % 1_000_000);
  process.stdout.write(`kill proof: HXO_TEST_SEED=${seed}\n`);
  const random = seededRandom(seed);
  for (const system of [quiet, stormy]) system.writeMany(files, 180);

  await quiet.start();
  const calm = await quiet.run(stage);
  await quiet.server.process.stop();
  expect(calm).toMatchObject({ phase: 'succeeded', truth_certified: true });
  expect(calm.total_shards).toBeGreaterThanOrEqual(5_000);

  let server = (await stormy.start()).process;
  const plan_id = await stormy.submit(stage);
  const story: string[] = [];
  const moments = momentsOf(calm.total_shards, random);
  for (const [i, moment] of moments.entries()) {
    const at = await reach(moment);
    await sleep(random() * 30);
    const alone = random() < 0.5;
    if (alone) process.kill(server.pid, 'SIGKILL');
    else server.kill();
    await gone(server);
    story.push(
      `${moment.name} (${at.phase}/${at.stage_phase} ${at.done}/${at.total})${alone ? ' API only' : ''}`,
    );
    server = moments[i + 1]?.brief === true ? stormy.launch() : (await stormy.start()).process;
  }
  process.stdout.write(`killed at: ${story.join('; ')}\n`);

  const report = await stormy.ended(plan_id);
  expect(report).toMatchObject({ phase: 'succeeded', truth_certified: true, failures: [] });
  expect(report.merkle_root).toBe(calm.merkle_root);
  const shards = calm.total_shards;
  expect(stormy.rows('SELECT sum(count) AS shards FROM segment')).toEqual([{ shards }]);
  const results = stormy.results();
  expect(results.map(({ ordinal, status }) => [ordinal, status])).toEqual(
    Array.from({ length: shards }, (_, ordinal) => [ordinal, 'done']),
  );
  expect(stormy.rows('SELECT * FROM failure')).toEqual([]);
  expect(
    stormy.rows<{ lost: number }>(`SELECT count(*) AS lost FROM bundle WHERE state = 'lost'`)[0]?.lost,
  ).toBeGreaterThan(0);

  await stormy.server.process.stop();
  expect(await leftOf(stormy.pids, 3_000)).toEqual([]);
  expect(stormy.journal()).toEqual(stormy.storedEvents());
  const stored = stormy.rows<{ envelope: string }>('SELECT envelope FROM certificate');
  const key = readPublicKey(readFileSync(stormy.key_path, 'utf8'));
  expect(verifyDocument(stored[0]!.envelope, [key])).toMatchObject({
    ok: true,
    plan_id,
    root: calm.merkle_root,
  });
  expect(await stormy.verifyStore()).toMatchObject({ code: 0, stderr: '' });
}, 120_000);

/** Three moments while partitioning, five while running, two while the stage is collected and the plan is sealed. */
function momentsOf(shards: number, random: () => number): Moment[] {
  const share = (from: number, to: number): number => Math.floor(shards * (from + (to - from) * random()));
  const partitioned = [share(0, 0.2), share(0.2, 0.4), share(0.4, 0.6)];
  const done = [share(0, 0.2), share(0.2, 0.4), share(0.4, 0.6), share(0.6, 0.8), share(0.8, 0.98)];
  return [
    ...partitioned.map((least) => ({
      name: `partitioned ${least}`,
      brief: true,
      reached: climbsTo(least),
    })),
    ...done.map((least) => ({ name: `done ${least}`, reached: (at: Standing) => at.done >= least })),
    { name: 'collecting', brief: true, reached: (at) => at.stage_phase === 'collecting' },
    { name: 'aggregating', brief: true, reached: (at) => at.phase === 'aggregating' },
  ];
}

/** Partitioned so far. What the server before left of it does not count: it is discarded first. */
function climbsTo(least: number): (at: Standing) => boolean {
  let below = false;
  return ({ phase, total }) => {
    below ||= total < least;
    return below && phase === 'partitioning' && total >= least;
  };
}

async function gone(server: ServerProcess): Promise<void> {
  if (!server.gone.aborted) await once(server.gone, 'abort');
}

async function reach({ name, reached }: Moment): Promise<Standing> {
  const db = new Database(stormy.db_path, { readonly: true });
  try {
    const look = db.prepare<[], Standing>(
      'SELECT plan.phase, stage.phase AS stage_phase, total, done FROM plan JOIN stage USING (plan_no)',
    );
    for (const end = performance.now() + 60_000; ;) {
      const at = look.get()!;
      if (reached(at)) return at;
      if (['succeeded', 'failed', 'aborted'].includes(at.phase))
        throw new Error(`${at.phase} before ${name}`);
      if (performance.now() > end) throw new Error(`Never reached: ${name}. ${JSON.stringify(at)}`);
      await sleep(2);
    }
  } finally {
    db.close();
  }
}
