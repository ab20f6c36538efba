import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ReportView } from '#hxo';
import { fileContent, fileName, System } from './support/system.js';

/** What changed is executed, what did not is reused: on a workspace of 2,000 files. */

const files = 2_000;
/** A shard may lose a file to its neighbour, and a cut may move to the next one: an edit touches three at most. */
const executed_max = 3;
const stage = { id: 'pack', kind: 'deploy.pack', config: { chunk_size_mb: 0.01 } };
const system = new System();
let first: ReportView;

beforeAll(async () => {
  system.writeMany(files);
  await system.start();
  first = await system.run(stage);
});
afterAll(() => system.dispose());

it('executes everything at first, and says why', () => {
  expect(first).toMatchObject({
    phase: 'succeeded',
    reuse: { reused: 0, misses: { first_run: first.total_shards } },
  });
  expect(first.total_shards).toBeGreaterThan(30);
  expect(first.stages[0]).toMatchObject({ matched: files, taken: files, truncated: 0 });
});

it('executes nothing when nothing has changed: same root, and a certificate of its own', async () => {
  const second = await system.run(stage);
  expect(second.reuse).toMatchObject({ reused: first.total_shards, executed: 0, misses: {} });
  expect(second).toMatchObject({ merkle_root: first.merkle_root, truth_certified: true, phase: 'succeeded' });
  expect(second.plan_id).not.toBe(first.plan_id);
  expect(second.certificate).not.toEqual(first.certificate);
  const [shard] = (await system.server.client.shards(second.plan_id, { limit: 1 })).items;
  expect(shard).toMatchObject({ reused: true, producing_plan_id: first.plan_id, attempt: 0 });
});

it.each([
  ['edited without changing its size', () => system.write(fileName(777), fileContent(778, 200))],
  ['grown', () => system.write(fileName(1234), fileContent(1234, 3_000))],
  ['added', () => system.write('d003/f000700-a.txt', 'a new file\n'.repeat(20))],
  ['deleted', () => rmSync(join(system.workspace, fileName(42)))],
])('executes at most three shards when one file is %s', async (_what, change) => {
  change();
  const report = await system.run(stage);
  expect(report).toMatchObject({ phase: 'succeeded', truth_certified: true });
  const { executed, reused, misses } = report.reuse;
  expect(executed).toBeGreaterThan(0);
  expect(executed).toBeLessThanOrEqual(executed_max);
  expect(reused).toBe(report.total_shards - executed);
  expect(misses).toEqual({ content_changed: executed });
  expect(report.merkle_root).not.toBe(first.merkle_root);
});

it('executes everything again whose artifacts are gone, and says so', async () => {
  const [shard] = (await system.server.client.shards(first.plan_id, { limit: 1 })).items;
  const { blob } = shard!.value as { blob: string };
  rmSync(join(system.home, 'artifacts', blob.slice(0, 2), blob.slice(2)));
  const report = await system.run(stage);
  expect(report.reuse).toMatchObject({ executed: 1, misses: { artifact_missing: 1 } });
});
