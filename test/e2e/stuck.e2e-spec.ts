import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { leftOf, processesOf } from './support/processes.js';
import { scriptedStage, with_scripted, writeScript } from './support/scripted.js';
import { System } from './support/system.js';

/** Shards that never end by themselves, in every way that there is, cost nobody but themselves. */

// A seat rests after a crash: with more seats, the shard that kills its process twenty-one times is through sooner.
const system = new System({ ...with_scripted, HXO_WORKER_CONCURRENCY: '6' });
const good = Array.from({ length: 20 }, (_, i) => `ok-${i}`);

beforeAll(async () => {
  writeScript(system, ...good, 'loop-0', 'native-0', 'kill-0');
  await system.start();
});
afterAll(() => system.dispose());

it('a loop in JavaScript, a native call and a suicide fail; the rest completes; nothing is left behind', async () => {
  const limits = { shard_timeout_ms: 700, retry: { max_failures: 1 } };
  const report = await system.run([
    scriptedStage('looping', ['ok-*', 'loop-*'], limits),
    scriptedStage('native', ['ok-*', 'native-*'], { ...limits, executor: 'scripted_process' }),
    scriptedStage('killing', ['ok-*', 'kill-*'], { ...limits, executor: 'scripted_process' }),
    scriptedStage('after', ['ok-*'], { dependencies: ['looping'] }),
  ]);
  expect(report).toMatchObject({ phase: 'failed', truth_certified: true, error: { code: 'SHARDS_FAILED' } });
  expect(
    report.stages.map(({ id, phase, done_shards, failed_shards, skipped_shards }) => ({
      id,
      phase,
      done_shards,
      failed_shards,
      skipped_shards,
    })),
  ).toEqual([
    { id: 'looping', phase: 'failed', done_shards: 20, failed_shards: 1, skipped_shards: 0 },
    { id: 'native', phase: 'failed', done_shards: 20, failed_shards: 1, skipped_shards: 0 },
    { id: 'killing', phase: 'failed', done_shards: 20, failed_shards: 1, skipped_shards: 0 },
    { id: 'after', phase: 'skipped', done_shards: 0, failed_shards: 0, skipped_shards: 20 },
  ]);
  expect(report.failures.map(({ stage, code }) => `${stage} ${code}`)).toEqual([
    'looping SHARD_TIMEOUT',
    'native SHARD_TIMEOUT',
    'killing LEASES_LOST',
  ]);
  expect(report.failures[0]?.message).toMatch(/700 ms/);
  expect(report.failures[2]?.message).toMatch(/SIGKILL/);

  // Idle workers may stay for a while, but none computes.
  expect(await cpuTicksWithin(500)).toBeLessThan(25);
  expect(await system.verifyStore()).toMatchObject({ code: 0 });
  await system.server.process.stop();
  expect(await leftOf(system.pids, 0)).toEqual([]);
});

it('SIGTERM ends stuck shards with the server; they are tried again at the next start', async () => {
  await system.start({ HXO_DRAIN_MS: '300' });
  const plan_id = await stuckForAnHour();
  await system.server.process.stop();
  expect(system.server.process.logTail()).toMatch(
    new RegExp(
      `drain time of 300 ms is over\\. Bundles cut off, to run again: 1 of stage \\w+ of plan ${plan_id}, 1 of `,
    ),
  );
  expect(await leftOf(system.pids, 0)).toEqual([]);
  await system.start();
  await system.until(plan_id, ({ running_shards }) => running_shards === 2);
});

it('SIGKILL to the server alone leaves no stuck worker behind', async () => {
  expect(processesOf(system.pids).length).toBeGreaterThan(1);
  process.kill(system.server.process.pid, 'SIGKILL');
  expect(await leftOf(system.pids, 4_000)).toEqual([]);
});

/** A plan of two shards, one in a loop and one in a native call, that nothing but the server's end will end. */
async function stuckForAnHour(): Promise<string> {
  const patient = { shard_timeout_ms: 3_600_000 };
  const plan_id = await system.submit([
    scriptedStage('looping', ['loop-*'], patient),
    scriptedStage('native', ['native-*'], { ...patient, executor: 'scripted_process' }),
  ]);
  await system.until(plan_id, ({ running_shards }) => running_shards === 2);
  return plan_id;
}

/** Processor time, in ticks of 10 ms, that the server and its workers spend while we wait. */
async function cpuTicksWithin(ms: number): Promise<number> {
  const before = cpuTicks();
  await sleep(ms);
  return cpuTicks() - before;
}

function cpuTicks(): number {
  return processesOf(system.pids).reduce((sum, { pid }) => {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return sum + Number(fields[11]) + Number(fields[12]);
  }, 0);
}
