import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { globby } from 'globby';
import MiniSearch from 'minisearch';
import { search_options, type IndexedDocument } from '../../libs/executors/src/docs_index/terms.js';
import { System } from './support/system.js';

/** Documentation indexed by a real server, and searched over HTTP. */

const system = new System();
const docs = { id: 'docs', kind: 'docs.index' };
let pages: string[];

interface Found {
  readonly total: number;
  readonly items: readonly {
    readonly route: string;
    readonly snippet: string;
    readonly matches: readonly (readonly [number, number])[];
    readonly score: number;
  }[];
}

beforeAll(async () => {
  const found = await globby('**/*.md', { cwd: 'node_modules', gitignore: false });
  pages = found
    .sort()
    .filter((path) => statSync(join('node_modules', path)).size < 10_000)
    .slice(0, 520);
  for (const path of pages) system.write(`docs/${path}`, readFileSync(join('node_modules', path), 'utf8'));
  await system.start();
});
afterAll(() => system.dispose());

const search = async (query: string): Promise<{ status: number; body: Found & Record<string, unknown> }> => {
  const { status, body } = await system.ask('GET', `/api/hxo/search?${query}`, { authorization: 'Captain' });
  return { status, body: body as unknown as Found & Record<string, unknown> };
};

it('has nothing to search before a plan has made an index', async () => {
  expect(pages.length).toBeGreaterThanOrEqual(500);
  expect(await search('q=install')).toMatchObject({ status: 404, body: { code: 'INDEX_NOT_FOUND' } });
  expect(String((await search('q=install')).body['detail'])).toContain('docs.index');
});

it('indexes a tree without any config, certifies it, and finds what MiniSearch finds in its index', async () => {
  const report = await system.run(docs);
  expect(report).toMatchObject({ phase: 'succeeded', truth_certified: true });
  expect(report.stages[0]).toMatchObject({
    partitioner: 'by_route_map',
    matched: pages.length,
    truncated: 0,
  });
  const [output] = report.outputs;
  expect(output!.value).toMatchObject({ documents: pages.length, cut: 0, left_out: 0 });
  const index = output!.artifacts.find(({ name }) => name === 'index')!;
  expect(output!.digest).toBe(index.digest);

  const chunks = [];
  for await (const chunk of await system.server.client.artifact(index.digest)) chunks.push(chunk);
  const whole = MiniSearch.loadJSON<IndexedDocument>(Buffer.concat(chunks).toString(), search_options);
  expect(whole.documentCount).toBe(pages.length);
  for (const query of ['install', 'license mit', 'parse options', 'asynch iterator', 'tokenzier', 'API']) {
    const expected = whole.search(query);
    expect([query, expected.length > 0]).toEqual([query, true]);
    const { status, body } = await search(`q=${encodeURIComponent(query)}&limit=5`);
    expect(status).toBe(200);
    expect(body).toMatchObject({ query, plan_id: report.plan_id, stage: 'docs', total: expected.length });
    expect(body.items.map(({ route, score }) => [route, score])).toEqual(
      expected.slice(0, 5).map(({ id, score }) => [String(id), score]),
    );
    for (const { snippet, matches } of body.items)
      for (const [at, length] of matches) expect(snippet.slice(at, at + length)).toHaveLength(length);
  }

  const file = join(system.folder, 'report.json');
  writeFileSync(file, JSON.stringify(report));
  expect(await system.hxo('verify', file, '--key', system.key_path)).toMatchObject({ code: 0 });
  const told = await system.hxo('search', 'install', '--limit', '3');
  expect(told).toMatchObject({ code: 0 });
  expect(told.stdout).toMatch(/^ROUTE +TITLE +TEXT\n\//);
}, 120_000);

it('comes to the same index by other shards, and executes only what an edit changed', async () => {
  const [before] = (await system.run(docs)).outputs;
  const by_filesize = await system.run({
    ...docs,
    partitioner: 'by_filesize',
    config: { root: 'docs', chunk_size_mb: 0.2 },
  });
  expect(by_filesize.outputs[0]).toMatchObject({ digest: before!.digest, artifacts: before!.artifacts });

  system.write(`docs/${pages[100]}`, '# Replaced\n\nNow it tells of zyzzyvas.\n');
  const after = await system.run(docs);
  expect(after.reuse).toMatchObject({ executed: 1 });
  expect(after.outputs[0]!.digest).not.toBe(before!.digest);
  const { body } = await search('q=zyzzyva');
  expect(body).toMatchObject({ plan_id: after.plan_id, total: 1, items: [{ title: 'Replaced' }] });
  expect((await search(`q=zyzzyva&plan_id=${by_filesize.plan_id}`)).body.total).toBe(0);
  expect(await search(`q=x&plan_id=${after.plan_id}&stage=pack`)).toMatchObject({
    status: 404,
    body: { code: 'STAGE_NOT_FOUND' },
  });
}, 120_000);

it('runs the example plan', async () => {
  const plan_id = (
    await system.server.client.createAndSubmit(readFileSync('examples/docs-index.json', 'utf8'))
  ).plan_id;
  expect(await system.ended(plan_id)).toMatchObject({ phase: 'succeeded', plan_name: 'docs_index' });
  expect((await search('q=install')).body).toMatchObject({ plan_id });
});

it('says which prefixes there are when one is unknown, and what is wrong with a config', async () => {
  const report = await system.run({ ...docs, config: { routes: ['/no-such-prefix'] } });
  expect(report).toMatchObject({ phase: 'failed', error: { code: 'PARTITION_FAILED' } });
  expect(report.error!.detail).toMatch(/routes: no page lies below "\/no-such-prefix"\. Known prefixes: /);
  const bad = await system.ask('POST', '/api/hxo/create-and-submit', {
    body: { name: 'bad', stages: [{ ...docs, config: { pages_per_shard: 0 } }] },
  });
  expect(bad.status).toBe(422);
  expect(bad.body).toMatchObject({ errors: [{ field: 'stages[0].config.pages_per_shard' }] });
});

it('a hostile document costs its shard at most, and one that is too large is indexed in part', async () => {
  system.write('hostile/long.md', `marker ${'word '.repeat(6_000_000)}`);
  system.write('hostile/deep.html', '<b>'.repeat(300_000) + 'deep');
  system.write('hostile/quotes.md', `${'> '.repeat(200_000)}quoted`);
  system.write('hostile/yaml.md', `---\ntitle: ${'['.repeat(60_000)}\n---\nunder it`);
  system.write('hostile/nul.md', 'a\0b\0 binary');
  const report = await system.run({ ...docs, config: { root: 'hostile' } });
  expect(report).toMatchObject({ phase: 'succeeded' });
  expect(report.outputs[0]!.value).toMatchObject({ documents: 5, cut: 1 });
  expect((await search('q=marker')).body.items.map(({ route }) => route)).toEqual(['/long']);
  expect((await search('q=under')).body.items.map(({ route }) => route)).toEqual(['/yaml']);
});

it('a shard with a document that takes too long is ended, and the server goes on', async () => {
  const brackets = '![['.repeat(300_000);
  for (let i = 0; i < 6; i++) system.write(`slow/${i}.md`, `${brackets}${i}`);
  const report = await system.run({
    ...docs,
    config: { root: 'slow' },
    shard_timeout_ms: 500,
    retry: { max_failures: 1 },
  });
  expect(report).toMatchObject({ phase: 'failed', failures: [{ code: 'SHARD_TIMEOUT' }] });
  expect(await search('q=marker')).toMatchObject({ status: 200 });
});
