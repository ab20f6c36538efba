import { RunningEngine } from '../../../../test/engine/running-engine.js';
import { done, failed, ordinalsOf, succeed } from '../../../../test/engine/fake-transport.js';
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
