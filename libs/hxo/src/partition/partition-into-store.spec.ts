import { by_waves, RunningEngine } from '../../../../test/engine/running-engine.js';

let hxo: RunningEngine;
const partition = by_waves.partition.bind(by_waves);
afterEach(async () => {
  by_waves.partition = partition;
  await hxo.close();
});

/** The partitioner breaks off after so many shards, once for each error. */
function breakAfter(shards: number, ...errors: Error[]): void {
  by_waves.partition = async function* (config, context) {
    const error = errors.shift();
    const drafts = partition(config, context);
    for (let made = 0; ; made++) {
      if (error !== undefined && made === shards) throw error;
      const next = await drafts.next();
      if (next.done === true) return next.value;
      yield next.value;
    }
  };
}

const trouble = (more: object): Error => Object.assign(new Error('no space left on device'), more);

it('begins again, from nothing, when the disk is full or the thread dies half way', async () => {
  hxo = await RunningEngine.start();
  breakAfter(9_000, trouble({ code: 'ENOSPC' }), trouble({ name: 'ThreadDied' }));
  const plan_id = await hxo.submit([
    { id: 'before', config: { waves: [3] } },
    { id: 's', config: { waves: [10_000] } },
  ]);
  const waiting = await hxo.until(plan_id, (status) => status.waiting_for !== null);
  expect(waiting).toMatchObject({ phase: 'partitioning', error: null });
  expect(waiting.waiting_for).toMatch(
    /^Partitioning stage s failed \(no space left on device\) and is tried/,
  );
  const status = await hxo.end(plan_id);
  expect(status).toMatchObject({ phase: 'succeeded', total_shards: 10_003, done_shards: 10_003 });
  expect(hxo.store.stages(1)[1]).toMatchObject({
    total: 10_000,
    done: 10_000,
    misses: { not_cacheable: 10_000 },
  });
});

it('fails the plan for what lies in the plan', async () => {
  hxo = await RunningEngine.start();
  breakAfter(2, trouble({ name: 'WorkspacePathError' }));
  expect(await hxo.run([{ id: 's' }])).toMatchObject({
    phase: 'failed',
    error: { code: 'PARTITION_FAILED', detail: 'Stage s: no space left on device' },
  });
});

it('discards half a partition in bounded writes, reused results included', async () => {
  hxo = await RunningEngine.start();
  const plan = [{ id: 's', executor: 'cacheable', config: { waves: [20_000] } }];
  await hxo.run(plan);
  breakAfter(15_000, trouble({ code: 'EIO' }));
  const plan_id = await hxo.submit(plan);
  await hxo.until(plan_id, (status) => status.waiting_for !== null);
  const { plan_no } = hxo.store.planById(plan_id)!;
  const left = [hxo.store.stages(plan_no)[0]!.total];
  const write = hxo.store.write.bind(hxo.store);
  hxo.store.write = async (work, patience) => {
    const result = await write(work, patience);
    const { total, done, reused } = hxo.store.stages(plan_no)[0]!;
    expect([done, reused]).toEqual([total, total]);
    left.push(total);
    return result;
  };
  expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded', reused_shards: 20_000 });
  const discards = left.slice(0, left.indexOf(0) + 1);
  expect(left[0]).toBeGreaterThan(14_000);
  for (const [i, total] of discards.slice(1).entries())
    expect(discards[i]! - total).toBeLessThanOrEqual(4_096);
});

it('reads the earlier plans of a stage once, however many parts it comes in', async () => {
  hxo = await RunningEngine.start();
  const earlier = hxo.store.earlierStage.bind(hxo.store);
  let asked = 0;
  hxo.store.earlierStage = (...args) => {
    asked++;
    return earlier(...args);
  };
  await hxo.run([{ id: 's', executor: 'cacheable', config: { waves: [3_000] } }]);
  expect(asked).toBe(1);
});
