import Database from 'better-sqlite3';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { done, failed, ordinalsOf, succeed, type Work } from '../../../../test/engine/fake-transport.js';
import { RunningEngine } from '../../../../test/engine/running-engine.js';
import type { BundleRow, ResultRow } from '../checkpoint/checkpoint-store.js';
import { lease_losses_max } from '../execute/accept-loss.js';
import type { Bundle } from '../execute/transport.js';
import type { PlanId } from '../plan/plan-spec.js';
import type { StageBoard } from '../schedule/stage-board.js';

let hxo: RunningEngine;
const start = async (...options: Parameters<typeof RunningEngine.start>): Promise<RunningEngine> =>
  (hxo = await RunningEngine.start(...options));
afterEach(() => hxo.close());

const hold: Work = async () => {};
const stageOf = (count: number): { id: string; config: { waves: number[] } } => ({
  id: 's',
  config: { waves: [count] },
});

function boardOf(plan_id: PlanId): StageBoard {
  return hxo.engine.find(plan_id)!.stages[0]!.board;
}

function bundlesOf(plan_id: PlanId): BundleRow[] {
  return [...hxo.store.bundles(hxo.store.planById(plan_id)!.plan_no)];
}

function resultsOf(plan_id: PlanId): ResultRow[] {
  return [...hxo.store.results(hxo.store.planById(plan_id)!.plan_no, 1, 0)];
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await sleep(2);
}

/** Lets workers hold the first bundles of a plan; returns them. */
async function heldBundles(plan_id: PlanId, count: number): Promise<Bundle[]> {
  await hxo.until(plan_id, ({ running_shards }) => running_shards >= count);
  return [...hxo.transport.bundles];
}

describe('leases that outlive the process', () => {
  it('are taken up: nothing is leased twice, results are accepted, nothing is charged', async () => {
    await start({ slots: 1, durable: true, work: hold });
    const plan_id = await hxo.submit([stageOf(6)]);
    const held = await heldBundles(plan_id, 2);
    await hxo.restart();
    expect(hxo.transport.bundles).toEqual([]);
    expect(hxo.status(plan_id)).toMatchObject({ claimed_shards: 2, pending_shards: 4 });
    for (const bundle of held) {
      hxo.transport.heartbeat(bundle);
      await hxo.transport.workerOf(bundle).report(
        ordinalsOf(bundle).map((ordinal) => done(ordinal, 'by its first worker')),
        true,
      );
    }
    const board = boardOf(plan_id);
    expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded', done_shards: 6 });
    const results = resultsOf(plan_id);
    expect(results.map(({ attempt }) => attempt)).toEqual([1, 1, 1, 1, 1, 1]);
    expect(results.filter(({ value }) => value === '"by its first worker"')).toHaveLength(2);
    expect(results.map(({ ordinal }) => board.lossesOf(ordinal))).toEqual([0, 0, 0, 0, 0, 0]);
    expect(bundlesOf(plan_id).map(({ state }) => state)).not.toContain('lost');
  });

  it('get one fresh term, and are lost after it', async () => {
    await start({ slots: 1, durable: true, work: hold });
    const plan_id = await hxo.submit([stageOf(1)]);
    await heldBundles(plan_id, 1);
    hxo.later_ms = 25_000;
    await hxo.restart();
    hxo.later_ms = 50_000;
    await sleep(1_200);
    expect(boardOf(plan_id).phaseOf(0)).toBe('claimed');
    hxo.later_ms = 56_000;
    expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded' });
    expect(resultsOf(plan_id)[0]!.attempt).toBe(2);
    expect(bundlesOf(plan_id).map(({ state }) => state)).toEqual(['lost', 'closed']);
  });

  it('are lost at once when the transport does not carry them: they were never sent', async () => {
    await start({ slots: 1, durable: true, work: hold });
    const plan_id = await hxo.submit([stageOf(2)]);
    const held = await heldBundles(plan_id, 2);
    await hxo.restart();
    for (const { bundle } of held) hxo.transport.vanished.add(bundle);
    await until(() => hxo.transport.asked > 0);
    expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded' });
    expect(hxo.transport.asked).toBe(1);
    expect(resultsOf(plan_id).map(({ attempt }) => attempt)).toEqual([2, 2]);
  });

  it('are those of the shards that had no result yet', async () => {
    const work: Work = async (bundle, worker) => {
      const ordinals = ordinalsOf(bundle);
      if (ordinals.length === 1) return succeed(bundle, worker);
      await worker.report([done(ordinals[0]!, 'before')], false);
    };
    await start({ slots: 1, durable: true, work });
    const plan_id = await hxo.submit([stageOf(40)]);
    await until(() => hxo.transport.bundles.filter((bundle) => ordinalsOf(bundle).length > 1).length === 2);
    const [held] = hxo.transport.bundles.filter((bundle) => ordinalsOf(bundle).length > 1);
    const [first, second] = ordinalsOf(held!) as [number, number];
    await until(() => boardOf(plan_id).phaseOf(first) === 'done');
    await hxo.restart();
    expect([first, second].map((ordinal) => boardOf(plan_id).phaseOf(ordinal))).toEqual(['done', 'claimed']);
    const worker = hxo.transport.workerOf(held!);
    await worker.report([done(second, 'after')], true); // and not a word on the rest: free again
    hxo.later_ms = 31_000; // The other one is given up.
    expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded', done_shards: 40 });
    const values = resultsOf(plan_id).map(({ value }) => value);
    expect([values[first], values[second]]).toEqual(['"before"', '"after"']);
  });

  it('leave no shard behind whose failure is reported again after the restart', async () => {
    await start({ slots: 1, durable: true, work: hold });
    const plan_id = await hxo.submit([stageOf(1)]);
    const [held] = await heldBundles(plan_id, 1);
    await hxo.transport.workerOf(held!).report([failed(0, 'retry')], false);
    await hxo.restart();
    // The report had been stored, and was not acknowledged: it comes again, with the end of the bundle.
    await hxo.transport.workerOf(held!).report([failed(0, 'retry')], true);
    expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded', done_shards: 1 });
    expect(hxo.store.failures(hxo.store.planById(plan_id)!.plan_no, 0)).toHaveLength(1);
    expect(resultsOf(plan_id)[0]!.attempt).toBe(2);
  });

  it('are not those of collectors, which are leased again', async () => {
    const work: Work = async (bundle, worker) =>
      bundle.work.type === 'collect' ? undefined : succeed(bundle, worker);
    await start({ slots: 1, durable: true, work });
    const plan_id = await hxo.submit([{ ...stageOf(2), executor: 'collecting' }]);
    await until(() => hxo.transport.bundles.some(({ work }) => work.type === 'collect'));
    await hxo.restart();
    expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded' });
    expect(hxo.transport.bundles.map(({ work, attempt }) => [work.type, attempt])).toEqual([['collect', 2]]);
  });
});

it.each<[string, boolean]>([
  ['worker is lost, then the process', true],
  ['process is lost', false],
])('charges no lost lease to a shard whose failure was reported before its %s', async (_, dies) => {
  // A bundle of many shards: the first fails and is reported, then nothing more is heard of them.
  let large: Bundle | undefined;
  const work: Work = async (bundle, worker) => {
    if (ordinalsOf(bundle).length === 1) return succeed(bundle, worker);
    if (large !== undefined) return;
    large = bundle;
    await worker.report([failed(ordinalsOf(bundle)[0]!, 'retry')], false);
  };
  await start({ slots: 1, work });
  const retry = { max_failures: 3, backoff_ms: 600_000, backoff_max_ms: 600_000 };
  const plan_id = await hxo.submit([{ ...stageOf(40), retry }]);
  await until(() => large !== undefined);
  const [first, second] = ordinalsOf(large!) as [number, number];
  const lossesOf = (): number[] => [first, second].map((ordinal) => boardOf(plan_id).lossesOf(ordinal));
  await until(() => boardOf(plan_id).phaseOf(first) === 'retrying');
  hxo.transport.resize(0);
  if (dies) {
    hxo.transport.workerOf(large!).die();
    await until(() => boardOf(plan_id).lossesOf(second) === 1);
    expect(lossesOf()).toEqual([0, 1]);
  }
  await hxo.restart();
  expect(lossesOf()).toEqual([0, 1]);
  expect(boardOf(plan_id).failuresOf(first)).toBe(1);
});

describe('a lease that the transport no longer carries', () => {
  it('is lost when it is missing twice running, not before', async () => {
    await start({
      slots: 1,
      work: (bundle, worker) => (bundle.bundle === 1 ? hold : succeed)(bundle, worker),
    });
    const plan_id = await hxo.submit([stageOf(1)]);
    await heldBundles(plan_id, 1);
    hxo.transport.vanished.add(1);
    await until(() => hxo.transport.asked === 1);
    await sleep(100);
    expect(boardOf(plan_id).phaseOf(0)).toBe('running');
    const board = boardOf(plan_id);
    expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded' });
    expect(hxo.transport.asked).toBe(2);
    expect([resultsOf(plan_id)[0]!.attempt, board.lossesOf(0)]).toEqual([2, 1]);
    expect(bundlesOf(plan_id).map(({ state }) => state)).toEqual(['lost', 'closed']);
  }, 15_000);

  it.each<[string, (bundle: Bundle) => Promise<void>]>([
    ['it is heard of in between', async (bundle) => hxo.transport.heartbeat(bundle)],
    [
      'it is there in between',
      async () => {
        const { asked } = hxo.transport;
        hxo.transport.vanished.clear();
        await until(() => hxo.transport.asked > asked);
        hxo.transport.vanished.add(1);
      },
    ],
  ])(
    'is not lost when %s',
    async (_, between) => {
      await start({ slots: 1, work: hold });
      const plan_id = await hxo.submit([stageOf(1)]);
      const [bundle] = await heldBundles(plan_id, 1);
      hxo.transport.vanished.add(1);
      await until(() => hxo.transport.asked === 1);
      await sleep(50);
      await between(bundle!);
      const { asked } = hxo.transport;
      await until(() => hxo.transport.asked > asked);
      await sleep(100);
      expect(boardOf(plan_id).phaseOf(0)).toBe('running');
      expect(bundlesOf(plan_id).map(({ state }) => state)).toEqual(['open']);
    },
    15_000,
  );
});

describe('bundles that the transport does not take', () => {
  const refused = new Error('No connection.');
  /** Lets time run twenty times as fast until so many bundles were refused. */
  async function refusals(count: number): Promise<void> {
    for (; hxo.log.length < count; hxo.later_ms += 100) await sleep(5);
  }

  it('are offered again: their shards are free, and charged with nothing', async () => {
    await start({ slots: 1 });
    hxo.transport.refusal = refused;
    const plan_id = await hxo.submit([stageOf(3)]);
    await until(() => hxo.log.length >= 2);
    const board = boardOf(plan_id);
    await refusals(hxo.log.length + lease_losses_max + 5);
    expect(hxo.transport.bundles).toEqual([]);
    hxo.transport.refusal = null;
    hxo.later_ms += 1_000;
    expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded', done_shards: 3 });
    expect([0, 1, 2].map((ordinal) => [board.lossesOf(ordinal), board.failuresOf(ordinal)])).toEqual(
      Array.from({ length: 3 }, () => [0, 0]),
    );
    expect(new Set(bundlesOf(plan_id).map(({ state }) => state))).toEqual(new Set(['closed']));
    expect(hxo.log.splice(0).every((line) => line.includes(refused.message))).toBe(true);
  });

  it('are offered again when they are collectors, however often', async () => {
    await start({ slots: 1 });
    hxo.transport.work = (bundle, worker) => {
      hxo.transport.refusal = refused; // from now on
      return succeed(bundle, worker);
    };
    const plan_id = await hxo.submit([{ ...stageOf(1), executor: 'collecting' }]);
    await until(() => hxo.log.length > 0);
    await refusals(hxo.log.length + lease_losses_max + 5);
    hxo.transport.refusal = null;
    hxo.later_ms += 1_000;
    expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded' });
    expect(hxo.transport.bundles.at(-1)).toMatchObject({ work: { type: 'collect' }, attempt: 1 });
    hxo.log.splice(0);
  });

  it('do not keep a halted stage from ending', async () => {
    await start({ slots: 1, work: hold });
    const plan_id = await hxo.submit([{ ...stageOf(2), failure_policy: 'halt_stage' }]);
    const [bundle] = await heldBundles(plan_id, 2);
    // The second bundle comes back and is refused; meanwhile the first fails and halts the stage.
    hxo.transport.refusal = refused;
    await hxo.transport.workerOf(hxo.transport.bundles[1]!).report([], true);
    await until(() => hxo.log.length > 0);
    await hxo.transport.workerOf(bundle!).report([failed(0, 'fail')], true);
    hxo.later_ms += 1_000;
    expect(await hxo.end(plan_id)).toMatchObject({ phase: 'failed', failed_shards: 1, skipped_shards: 1 });
    hxo.log.splice(0);
  });
});

it.each<[string, Work, number[]]>([
  ['would be tried again', (_bundle, worker) => worker.report([failed(1, 'retry')], true), [1, 1]],
  ['comes back', (_bundle, worker) => worker.report([failed(1, 'halt')], true), [1, 1]],
])('ends a halted stage whose last shard %s', async (_, end, [failed_shards, skipped_shards]) => {
  await start({ slots: 1, work: hold });
  const plan_id = await hxo.submit([{ ...stageOf(2), failure_policy: 'halt_stage' }]);
  const [first, second] = await heldBundles(plan_id, 2);
  await hxo.transport.workerOf(first!).report([failed(0, 'fail')], true);
  await end(second!, hxo.transport.workerOf(second!));
  expect(await hxo.end(plan_id)).toMatchObject({ phase: 'failed', failed_shards, skipped_shards });
});

describe('bundles that a worker refuses', () => {
  it('are offered again at no charge, and the status says why', async () => {
    let refusals = 0;
    await start({
      slots: 1,
      work: async (_bundle, worker) => {
        refusals++;
        worker.refuse();
      },
    });
    const plan_id = await hxo.submit([{ ...stageOf(2), executor: 'collecting' }]);
    const refusedAgain = async (times: number): Promise<void> => {
      for (const end = refusals + times; refusals < end; hxo.later_ms += 100) await sleep(5);
    };
    await refusedAgain(2 * lease_losses_max + 10);
    expect(hxo.engine.waitsFor(plan_id)).toBe(
      'a worker that takes its bundles: fake-1 has another workspace',
    );
    const board = boardOf(plan_id);
    let collector_refusals = 0;
    hxo.transport.work = async (bundle, worker) => {
      if (bundle.work.type === 'shards' || collector_refusals > lease_losses_max) {
        await succeed(bundle, worker);
        return;
      }
      collector_refusals++;
      worker.refuse();
    };
    const passing = setInterval(() => (hxo.later_ms += 500), 5);
    expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded' });
    clearInterval(passing);
    expect([0, 1].map((ordinal) => [board.lossesOf(ordinal), board.failuresOf(ordinal)])).toEqual([
      [0, 0],
      [0, 0],
    ]);
    expect(new Set(bundlesOf(plan_id).map(({ state }) => state))).toEqual(new Set(['closed']));
  });
});

it.each<[string, string]>([
  ['shards', 'plain'],
  ['collectors', 'collecting'],
])(
  'begins the term of a lease when it is committed, not when it is asked for: %s',
  async (_, executor) => {
    await start({ slots: executor === 'plain' ? 0 : 1 });
    let locker: Database.Database | undefined;
    const lock = (): void => {
      locker = new Database(join(hxo.dir, 'hxo.db'));
      locker.exec('BEGIN IMMEDIATE');
    };
    const leasesOf = (): number => hxo.transport.bundles.length;
    const plan_id = await hxo.submit([{ ...stageOf(1), executor }]);
    if (executor === 'plain') {
      await hxo.until(plan_id, ({ stages }) => stages[0]!.phase === 'running');
    } else {
      // No room for the collector until the store is locked.
      hxo.transport.work = async (bundle, worker) => {
        if (bundle.work.type === 'shards') hxo.transport.resize(0);
        await succeed(bundle, worker);
      };
      await hxo.until(plan_id, ({ stages }) => stages[0]!.phase === 'collecting');
      await sleep(100);
    }
    const before = leasesOf();
    lock();
    hxo.transport.vanished.add(1).add(2);
    hxo.transport.resize(1);
    await sleep(50);
    hxo.later_ms = 31_000;
    await sleep(1_200); // The leases are looked through meanwhile.
    expect(leasesOf()).toBe(before);
    locker!.exec('ROLLBACK');
    locker!.close();
    const board = boardOf(plan_id);
    expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded' });
    expect(board.lossesOf(0)).toBe(0);
    expect(bundlesOf(plan_id).map(({ attempt, state }) => [attempt, state])).toEqual(
      bundlesOf(plan_id).map(() => [1, 'closed']),
    );
  },
  20_000,
);

it('says what keeps shards from being executed, as long as there are any', async () => {
  await start({ slots: 0 });
  const plan_id = await hxo.submit([stageOf(1)]);
  await hxo.until(plan_id, ({ stages }) => stages[0]!.phase === 'running');
  await sleep(20);
  expect(hxo.engine.waitsFor(plan_id)).toBeNull();
  hxo.transport.obstacle_text = 'a worker that has executor plain';
  expect(hxo.engine.waitsFor(plan_id)).toBe('a worker that has executor plain');
  hxo.transport.work = hold;
  hxo.transport.resize(1);
  const [bundle] = await heldBundles(plan_id, 1);
  // The worker that has it may be gone.
  expect(hxo.engine.waitsFor(plan_id)).toBe('a worker that has executor plain');
  hxo.transport.obstacle_text = null;
  expect(hxo.engine.waitsFor(plan_id)).toBeNull();
  await hxo.transport.workerOf(bundle!).report([done(0)], true);
  await hxo.end(plan_id);
});
