import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { createFileCache } from '#adapters/files';
import { cacheKey } from '#hxo/execute';
import { sha256 } from '#truth';
import { System } from './support/system.js';

/** deploy.prime from end to end: a registry that answers, contents in the cache, pages that were asked for. */

const registry = {
  id: 'registry',
  kind: 'deploy.prime',
  partitioner: 'by_module',
};
const contents = {
  ...{ id: 'contents', kind: 'deploy.prime', partitioner: 'by_dag_depth' },
  dependencies: ['registry'],
};

let site: Server;
let origin: string;
let asked: string[] = [];
const missing = new Set<string>();
let system: System;

beforeAll(async () => {
  site = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    response.writeHead(missing.has(request.url!) ? 404 : 200, { etag: '"v1"' }).end('page');
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => site.once('listening', resolve));
  const host = `127.0.0.1:${(site.address() as AddressInfo).port}`;
  origin = `http://${host}`;
  system = new System({ HXO_PRIME_ALLOWED_HOSTS: host });
  writeSources();
  await system.start();
}, 60_000);
afterAll(async () => {
  await system.dispose();
  site.close();
  site.closeAllConnections();
});

/** Two workspace packages, one of which imports the other, and a page of documentation. */
function writeSources(): void {
  system.write('package.json', JSON.stringify({ name: 'root', workspaces: ['packages/*'] }));
  const lib = {
    name: '@site/lib',
    version: '1.2.3',
    main: './index.js',
    exports: { '.': './index.js' },
  };
  system.write('packages/lib/package.json', JSON.stringify(lib));
  system.write('packages/lib/index.js', 'export const one = 1;\n');
  const app = {
    name: '@site/app',
    version: '2.0.0',
    dependencies: { '@site/lib': '^1.0.0' },
  };
  system.write('packages/app/package.json', JSON.stringify(app));
  system.write('packages/app/index.js', "import { one } from '@site/lib';\nexport default one;\n");
  system.write('docs/guide/start.md', '# Start\n');
}

const runs = async () => system.run([registry, contents]);

it('fills the registry and the content cache, with one root however often', async () => {
  const first = await runs();
  expect(first).toMatchObject({
    phase: 'succeeded',
    truth_certified: true,
    failed_shards: 0,
  });
  expect(first.stages.map(({ executor }) => executor)).toEqual(['warm_registry', 'prime_caches']);
  expect(first.outputs.map(({ value }) => value)).toEqual([
    { modules: 2 },
    { files: 4, urls: 0, left_out: 0 },
  ]);
  expect(first.outputs.map(({ artifacts }) => artifacts[0]!.name)).toEqual(['registry', 'primed']);

  const { status, body } = await system.ask('GET', '/api/hxo/registry/@site/lib');
  expect([status, body]).toMatchObject([
    200,
    {
      module: '@site/lib',
      version: '1.2.3',
      path: 'packages/lib',
      files: 2,
      exports: { '.': ['index.js'] },
    },
  ]);
  const app = await system.hxo('--json', 'registry', '@site/app');
  expect(app).toMatchObject({ code: 0, stderr: '' });
  expect(JSON.parse(app.stdout)).toMatchObject({
    dependencies: { '@site/lib': '^1.0.0' },
  });
  expect(await system.ask('GET', '/api/hxo/registry/@site/none')).toMatchObject({
    ...{ status: 404, body: { code: 'REGISTRY_ENTRY_NOT_FOUND' } },
  });

  const unknown = await system.hxo('registry', '@site/ap');
  expect(unknown.code).toBe(4);
  expect(unknown.stderr).toContain('The registry has @site/app, @site/lib.');
  const unnamed = await system.hxo('registry');
  expect(unnamed.code).toBe(2);
  expect(unnamed.stderr).toMatch(
    /Name a module\. The registry has @site\/(app, @site\/lib|lib, @site\/app)\./,
  );

  const second = await runs();
  expect(second.merkle_root).toBe(first.merkle_root);
  expect(second).toMatchObject({
    reused_shards: 0,
    done_shards: first.done_shards,
  });
  const shards = await system.server.client.shards(second.plan_id, {
    stage: 'registry',
  });
  const puts = shards.items.map(({ value }) => (value as { observed: { put: string } }).observed.put);
  expect(puts).toEqual(['unchanged', 'unchanged']);
}, 90_000);

it('runs the example plan', async () => {
  const example = readFileSync('examples/prime.json', 'utf8');
  const { plan_id } = await system.server.client.createAndSubmit(example);
  const report = await system.ended(plan_id);
  expect(report).toMatchObject({ phase: 'succeeded', truth_certified: true });
  expect(report.outputs.map(({ value }) => value)).toEqual([
    { modules: 2 },
    { files: 4, urls: 0, left_out: 0 },
  ]);
}, 60_000);

it('tells of a new version once it is primed', async () => {
  const lib = { name: '@site/lib', version: '1.3.0', bin: './cli.js' };
  system.write('packages/lib/package.json', JSON.stringify(lib));
  await system.run(registry);
  const { body } = await system.ask('GET', '/api/hxo/registry/@site/lib');
  expect(body).toMatchObject({
    version: '1.3.0',
    entry_points: { bin: { lib: 'cli.js' } },
  });
}, 60_000);

const pages = (config: object) => ({
  ...{ id: 'pages', kind: 'deploy.prime', partitioner: 'by_route_map' },
  config: { base_url: origin, ...config },
  retry: { max_failures: 2, backoff_ms: 1 },
});

it('asks for every page once, and fails the plan over one that does not answer', async () => {
  asked = [];
  const report = await system.run(pages({ urls: ['/', '/live?tab=1'] }));
  expect(report).toMatchObject({ phase: 'succeeded', truth_certified: true });
  expect(asked.sort()).toEqual(['GET /', 'GET /guide/start', 'GET /live?tab=1']);
  expect(report.outputs[0]!.value).toEqual({ files: 0, urls: 3, left_out: 0 });

  missing.add('/guide/start');
  const failed = await system.run(pages({ routes: ['/guide'] }));
  expect(failed).toMatchObject({ phase: 'failed', failed_shards: 1 });
  expect(failed.failures[0]).toMatchObject({
    code: 'URLS_NOT_PRIMED',
    failures: 2,
  });
  expect(failed.failures[0]!.message).toContain('/guide/start (status 404)');
}, 60_000);

it('asks no host that the operator has not listed, and says which variable would', async () => {
  asked = [];
  const report = await system.run(pages({ base_url: origin.replace('127.0.0.1', 'localhost') }));
  expect(report.failures[0]).toMatchObject({
    code: 'HOST_NOT_ALLOWED',
    failures: 1,
  });
  expect(report.failures[0]!.message).toContain('HXO_PRIME_ALLOWED_HOSTS');
  expect(asked).toEqual([]);
  const stage = { ...pages({ urls: ['/'] }), config: { urls: ['/'] } };
  await expect(system.submit(stage)).rejects.toMatchObject({
    ...{
      code: 'BLUEPRINT_VIOLATION',
      errors: [{ field: 'stages[0].config.base_url' }],
    },
  });
}, 60_000);

const source = "import { one } from '@site/lib';\nexport default one;\n";

/** Jest's project decides. */
const federated = (globalThis as { readonly hxo_mode?: string }).hxo_mode === 'federated';
(federated ? it : it.skip)(
  'keeps the cache in Redis, and says so when Redis is away',
  async () => {
    const { redis: server } = system.fleet!;
    const redis = new Redis(server.url);
    const keys = await redis.keys('{hxo}:cache:*');
    expect(keys).toEqual(
      expect.arrayContaining(['{hxo}:cache:registry/@site/lib', `{hxo}:cache:content/${sha256(source)}`]),
    );
    expect(await redis.get(`{hxo}:cache:content/${sha256(source)}`)).toBe(source);
    redis.disconnect();
    await server.kill();
    const away = await system.ask('GET', '/api/hxo/registry/@site/lib');
    expect(away).toMatchObject({ status: 503, body: { code: 'CACHE_UNAVAILABLE' } });
    expect(away.headers.get('retry-after')).toBe('5');
    await server.launch();
  },
  60_000,
);

(federated ? it.skip : it)(
  'keeps the cache in files, and says so when they cannot be read',
  async () => {
    const cache = createFileCache(join(system.home, 'cache'));
    const content = await cache.get(cacheKey('content', sha256(source)));
    expect(Buffer.from(content!).toString()).toBe(source);
    const key = sha256(cacheKey('registry', '@site/lib'));
    const folder = join(system.home, 'cache', key.slice(0, 2));
    rmSync(folder, { recursive: true });
    writeFileSync(folder, '');
    const away = await system.ask('GET', '/api/hxo/registry/@site/lib');
    expect(away).toMatchObject({ status: 503, body: { code: 'CACHE_UNAVAILABLE' } });
    rmSync(folder);
  },
  60_000,
);

it('leaves a store that verifies', async () => {
  expect(await system.verifyStore()).toMatchObject({ code: 0 });
}, 60_000);
