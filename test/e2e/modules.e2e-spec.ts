import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { scriptedStage, with_scripted } from './support/scripted.js';
import { System } from './support/system.js';

/** Plans that are cut by modules and by what imports what, on one server. */

const system = new System(with_scripted);

/** Workspace packages, one of them too large for a shard, with a file that is too large for one as well. */
const packages: Record<string, string> = {
  'packages/ant/package.json': '{ "name": "@e2e/ant", "version": "1.0.0" }',
  'packages/ant/index.ts': 'export const ant = 1;\n',
  'packages/bee/package.json': '{ "name": "@e2e/bee", "dependencies": { "@e2e/ant": "*" } }',
  'packages/bee/index.ts': 'export * from "@e2e/ant";\n',
  'packages/bee/model.bin': Array.from({ length: 4_500 }, (_, i) => i.toString(36)).join(),
  'packages/bee/nested/package.json': '{ "name": "@e2e/nested" }',
  'packages/bee/nested/index.ts': 'import "../index.js";\n',
};
for (let i = 0; i < 20; i++) packages[`packages/bee/data/${i}.txt`] = `${i} `.repeat(200);

const pack = {
  id: 'pack',
  kind: 'deploy.pack',
  partitioner: 'by_module',
  config: { root: 'tree', chunk_size_mb: 0.004 },
};

beforeAll(async () => {
  system.write('tree/package.json', '{ "workspaces": ["packages/*", "packages/bee/nested"] }');
  system.write('tree/README.md', 'in no module\n');
  for (const [path, text] of Object.entries(packages)) system.write(`tree/${path}`, text);
  await system.start();
});
afterAll(() => system.dispose());

it('packs every module, certifies that, and restores every file of the modules', async () => {
  const report = await system.run(pack);
  expect(report).toMatchObject({ phase: 'succeeded', truth_certified: true });
  expect(report.stages[0]).toMatchObject({ matched: 3, taken: 3, truncated: 0 });
  expect(report.total_shards).toBeGreaterThan(6);

  const { body } = await system.ask('GET', `/api/hxo/report/${report.plan_id}/certificate`);
  const certificate = join(system.folder, 'certificate.json');
  writeFileSync(certificate, JSON.stringify(body));
  expect(await system.hxo('verify', certificate, '--key', system.key_path)).toMatchObject({ code: 0 });

  const restored = join(system.folder, 'restored');
  expect(await system.hxo('unpack', report.plan_id, 'pack', restored)).toMatchObject({ code: 0 });
  expect(filesOf(restored)).toEqual(packages);
});

it('executes only the edited module anew', async () => {
  system.write('tree/packages/ant/index.ts', 'export const ant = 2;\n');
  const report = await system.run(pack);
  expect(report).toMatchObject({ phase: 'succeeded', reuse: { executed: 1 } });
});

it('packs the modules that are named, and tells which there are when one is unknown', async () => {
  const config = { ...pack.config, modules: ['packages/bee/nested', '@e2e/ant'] };
  const report = await system.run({ ...pack, config });
  expect(report).toMatchObject({ phase: 'succeeded', total_shards: 2, stages: [{ matched: 2, taken: 2 }] });
  const unknown = await system.run({ ...pack, config: { ...config, modules: ['@e2e/cat'] } });
  expect(unknown).toMatchObject({ phase: 'failed', error: { code: 'PARTITION_FAILED' } });
  expect(unknown.error?.detail).toContain(
    '"@e2e/cat", which is no module. There are @e2e/ant (packages/ant), @e2e/bee (packages/bee)',
  );
});

it('runs layer after layer of what imports what, and says what lies deeper', async () => {
  // The scripted executor does what the name of a shard's first file says.
  system.write('graph/wait-20-base.ts', 'export {};');
  system.write('graph/ok-hostile.ts', '('.repeat(100_000));
  system.write('graph/ok-user.ts', 'import "./wait-20-base.js"; import "./ok-friend.js";');
  system.write('graph/ok-friend.ts', 'import "./ok-user.js";');
  system.write('graph/ok-top.ts', 'export * from "./ok-user.js";');
  const stage = scriptedStage('graph', [], {
    partitioner: 'by_dag_depth',
    config: { root: 'graph', max_depth: 2, chunk_size_mb: 0.000_05 },
  });
  const report = await system.run(stage);
  expect(report).toMatchObject({ phase: 'succeeded', truth_certified: true });
  expect(report.stages[0]).toMatchObject({ matched: 5, taken: 4, truncated: 1, capped_by: 'max_depth' });
  expect(report.notes).toContain('Stage graph was capped by max_depth: 4 of 5 items taken, 1 left out.');
  const { items } = await system.server.client.shards(report.plan_id, { limit: 100 });
  expect(items.map(({ value }) => value)).toEqual([
    'ok-hostile.ts',
    'wait-20-base.ts',
    'ok-friend.ts',
    'ok-user.ts',
  ]);
});

/** Texts of all files below a folder, by path. */
function filesOf(folder: string): Record<string, string> {
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return Object.fromEntries(
    paths
      .filter((path) => statSync(join(folder, path)).isFile())
      .map((path) => [path, readFileSync(join(folder, path), 'utf8')]),
  );
}
