import { RunningEngine } from '../../../../test/engine/running-engine.js';
import { done, failed, ordinalsOf, succeed } from '../../../../test/engine/fake-transport.js';
import type { PlanReader } from '../checkpoint/checkpoint-store.js';
import { HashedAhead } from './hashed-ahead.js';
import { readPlanTrees } from './plan-trees.js';

let hxo: RunningEngine;
afterEach(() => hxo.close());

it('gives the same leaves and records, however far a plan was hashed while it ran', async () => {
  const ahead = new HashedAhead();
  hxo = await RunningEngine.start();
  // Shards end in another order than theirs: every third is tried twice, one fails for good.
  hxo.transport.work = async (bundle, worker) => {
    const plan = hxo.store.planById(bundle.plan_id)!;
    ahead.advance(hxo.store, plan);
    if (bundle.work.type === 'collect') return succeed(bundle, worker);
    const outcomes = ordinalsOf(bundle).map((ordinal) => {
      if (ordinal === 700) return failed(ordinal, 'fail');
      return ordinal % 3 === 0 && bundle.attempt === 1 ? failed(ordinal, 'retry') : done(ordinal);
    });
    await worker.report(outcomes, true);
    ahead.advance(hxo.store, plan);
  };
  const { plan_id, phase } = await hxo.run([
    { id: 'a', config: { waves: [300, 600] } },
    { id: 'b', config: { waves: [5] } },
  ]);
  expect(phase).toBe('failed');
  const plan = hxo.store.planById(plan_id)!;
  const fresh = readPlanTrees(hxo.store, plan);
  const begun = readPlanTrees(hxo.store, plan, ahead.take(plan));
  expect(begun.leaves.bytes()).toEqual(fresh.leaves.bytes());
  expect(begun.records.bytes()).toEqual(fresh.records.bytes());
  expect(begun.stages).toEqual(fresh.stages);
  expect(fresh.damage).toEqual([]);
  expect(fresh.stages[0]).toMatchObject({ total: 900, failed: 1, done: 899 });
});

it('tells whether it got further, reads no segment before a result that it needs is there, and takes 128 at a time', async () => {
  const ahead = new HashedAhead();
  hxo = await RunningEngine.start();
  let segments = 0;
  const counting = (plan_phase: 'running' | 'aborted' = 'running'): PlanReader => {
    const { store } = hxo;
    return {
      ...readerOf(store),
      planByNo: (plan_no) => ({ ...store.planByNo(plan_no)!, phase: plan_phase }),
      *segments(...at) {
        for (const segment of store.segments(...at)) {
          segments++;
          yield segment;
        }
      },
    };
  };
  const holding = new Map<number, () => void>();
  hxo.transport.work = async (bundle, worker) => {
    await new Promise<void>((resolve) => holding.set(bundle.bundle, resolve));
    await succeed(bundle, worker);
  };
  // A segment never holds shards of two waves.
  const waves = Array.from({ length: 100 }, () => 1);
  const stages = [
    { id: 'a', config: { waves } },
    { id: 'b', config: { waves } },
  ];
  const plan_id = await hxo.submit(stages);
  await hxo.until(plan_id, ({ phase }) => phase === 'running' && holding.size > 0);
  const plan = hxo.store.planById(plan_id)!;
  for (let i = 0; i < 5; i++) expect(ahead.advance(counting(), plan)).toBe(false);
  expect(segments).toBe(0);
  hxo.transport.work = succeed;
  for (const go of holding.values()) go();
  await hxo.end(plan_id);
  expect(ahead.advance(counting(), plan)).toBe(true);
  const first = segments;
  // The call ends as soon as it has hashed so many, over both stages.
  expect(first).toBe(128);
  expect(ahead.advance(counting(), plan)).toBe(true);
  expect(ahead.advance(counting(), plan)).toBe(false);
  // A plan that has ended is forgotten: it is hashed from its beginning when it is asked for again.
  expect(ahead.advance(counting('aborted'), plan)).toBe(false);
  segments = 0;
  expect(ahead.advance(counting(), plan)).toBe(true);
  expect(segments).toBe(128);
});

function readerOf(store: RunningEngine['store']): PlanReader {
  return {
    planById: (id) => store.planById(id),
    planByNo: (plan_no) => store.planByNo(plan_no),
    stages: (plan_no) => store.stages(plan_no),
    segments: (...at) => store.segments(...at),
    resultBatches: (...at) => store.resultBatches(...at),
    countResults: (...at) => store.countResults(...at),
    results: (...at) => store.results(...at),
    certificate: (...at) => store.certificate(...at),
    certifiedPlans: () => store.certifiedPlans(),
  };
}

it('finds a segment that was damaged after it was hashed', async () => {
  const ahead = new HashedAhead();
  hxo = await RunningEngine.start();
  const { plan_id } = await hxo.run([{ id: 'a', config: { waves: [300] } }]);
  const plan = hxo.store.planById(plan_id)!;
  const reader = readerOf(hxo.store);
  expect(ahead.advance({ ...reader, planByNo: () => ({ ...plan, phase: 'running' }) }, plan)).toBe(true);
  const damaged: PlanReader = {
    ...reader,
    *segments(...at) {
      for (const segment of hxo.store.segments(...at))
        yield segment.first_ordinal === 0 ? { ...segment, lines: segment.lines.replace('0', '1') } : segment;
    },
  };
  expect(readPlanTrees(damaged, plan, ahead.take(plan)).damage).toEqual([
    'segment 0-255 of stage a: its shards are not those that were hashed',
  ]);
});
