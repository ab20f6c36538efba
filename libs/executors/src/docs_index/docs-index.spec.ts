import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { globby } from 'globby';
import MiniSearch from 'minisearch';
import { createArtifactStore, createWorkspace } from '#adapters/files';
import {
  FailShard,
  RetryShard,
  routesOf,
  sha256,
  type Cache,
  type CollectedShard,
  type Digest,
  type ExecutorContext,
  type HttpClient,
  type Json,
  type Partitioner,
  type StageOutput,
} from '#hxo/execute';
import { byFilesize } from '../../../hxo/src/partition/by-filesize.js';
import { byRouteMap } from '../../../hxo/src/partition/by-route-map.js';
import { docsIndex } from './docs-index.js';
import { extractHtml } from './extract-html.js';
import { extractMarkdown } from './extract-markdown.js';
import { document_bytes_max } from './read-document.js';
import { createDocsSearch, IndexUnusable } from './search.js';
import { search_options, type IndexedDocument } from './terms.js';

let base: string;
let source: string;
let artifacts: ReturnType<typeof createArtifactStore>;

beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), 'hxo-docs-'));
  artifacts = createArtifactStore(join(base, 'artifacts'));
});
beforeEach(() => (source = mkdtempSync(join(base, 'source-'))));
afterAll(() => rmSync(base, { recursive: true, force: true }));

function write(path: string, content: string | Buffer): void {
  mkdirSync(dirname(join(source, path)), { recursive: true });
  writeFileSync(join(source, path), content);
}

function context(signal = new AbortController().signal): ExecutorContext {
  const workspace = createWorkspace({ root: source, forbidden: [] });
  const unused = { cache: {} as Cache, http: {} as HttpClient };
  return { artifacts, workspace, signal, log: () => undefined, ...unused };
}

interface Draft {
  readonly inputs: Json;
  readonly input_digests: readonly Digest[];
}

async function partition(by: Partitioner<never>, config: Record<string, Json> = {}): Promise<Draft[]> {
  const drafts = [];
  for await (const draft of by.partition(by.parse(config), context())) drafts.push(draft);
  return drafts;
}

async function runShard(draft: Draft, ordinal = 0): Promise<CollectedShard> {
  const inputs = docsIndex.parse(draft.inputs);
  const { digest, value } = await docsIndex.run({ ...draft, ordinal, inputs, attempt: 1 }, context());
  return { ...draft, ordinal, digest: digest!, value };
}

async function collect(shards: readonly CollectedShard[]): Promise<StageOutput> {
  return docsIndex.collect!(Readable.from(shards) as AsyncIterable<CollectedShard>, context());
}

async function index(by: Partitioner<never>, config: Record<string, Json> = {}): Promise<StageOutput> {
  const shards = [];
  for (const [ordinal, draft] of (await partition(by, config)).entries())
    shards.push(await runShard(draft, ordinal));
  return collect(shards);
}

async function textOf(output: StageOutput, name: string): Promise<string> {
  const { digest } = output.artifacts.find((artifact) => artifact.name === name)!;
  return Buffer.concat(await (await artifacts.open(digest)).toArray()).toString();
}

async function search(
  output: StageOutput,
  query: string,
  limit = 10,
): ReturnType<ReturnType<typeof createDocsSearch>> {
  const [found, documents] = output.artifacts.map(({ digest }) => digest);
  return createDocsSearch(artifacts)({ index: found!, documents: documents!, query, limit });
}

/** What MiniSearch makes of the whole tree at once. */
function indexedByMiniSearch(paths: readonly string[]): MiniSearch<IndexedDocument> {
  const routes = routesOf(paths);
  const documents = paths.map((path, i) => {
    const bytes = readFileSync(join(source, path)).toString();
    const names = path.replace(/\.\w+$/, '').split('/');
    const by_default = (/^(index|readme)$/i.test(names.at(-1)!) ? names.at(-2) : undefined) ?? names.at(-1)!;
    const text = path.endsWith('.html') ? extractHtml(bytes, by_default) : extractMarkdown(bytes, by_default);
    return { route: routes[i]!, path, ...text };
  });
  const whole = new MiniSearch(search_options);
  whole.addAll(documents.sort((a, b) => (a.route < b.route ? -1 : 1)));
  return whole;
}

/** Ids and scores of the best ten. Sums in another order differ in the last digits, which must not decide on equals. */
function topTen(results: readonly { readonly id: unknown; readonly score: number }[]): string[] {
  const rows = results.map(({ id, score }) => ({ id: String(id), score: Number(score.toPrecision(9)) }));
  rows.sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1));
  return rows.slice(0, 10).map(({ id, score }) => `${id} ${score}`);
}

const words =
  'install guide server client shard plan worker token search index route page api http json deploy'.split(
    ' ',
  );

function writeSite(): void {
  for (let i = 0; i < 40; i++) {
    const text = Array.from({ length: 30 }, (_, j) => words[(i * 7 + j * (1 + (i % 5))) % words.length]).join(
      ' ',
    );
    write(
      `docs/${words[i % 6]}/${words[(i * 5) % 16]}-${i}.${i % 9 === 0 ? 'html' : 'md'}`,
      `# ${words[i % 16]} ${i}\n\n${text}\n`,
    );
  }
  write('docs/README.md', '---\ntitle: Home\n---\nWelcome');
  write('docs/index.html', '<title>Also home</title>');
  write('docs/picture.png', 'no document');
}

describe('docs_index', () => {
  it('makes one segment a shard, small values, and one index', async () => {
    writeSite();
    const [first, ...rest] = await partition(byRouteMap as Partitioner<never>);
    const shard = await runShard(first!);
    expect(shard.value).toEqual({
      documents: 2,
      left_out: 0,
      cut: 0,
      terms: expect.any(Number) as number,
      segment: shard.digest,
      bytes: await artifacts.size(shard.digest),
    });
    expect(await runShard(first!)).toEqual(shard);
    expect(rest.length).toBeGreaterThan(3);
    const output = await index(byRouteMap as Partitioner<never>);
    expect(output.value).toMatchObject({ documents: 42, left_out: 0, cut: 0 });
    expect(output.artifacts.map(({ name }) => name)).toEqual(['index', 'documents']);
    expect(output.digest).toBe(output.artifacts[0]!.digest);
    const loaded = MiniSearch.loadJSON(await textOf(output, 'index'), search_options);
    expect(loaded.documentCount).toBe(42);
    expect(loaded.search('welcome')).toMatchObject([{ id: '/README.md', title: 'Home', path: 'README.md' }]);
    const lines = (await textOf(output, 'documents'))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { route: string });
    expect(lines.map(({ route }) => route)).toEqual(lines.map(({ route }) => route).sort());
    expect(lines[0]).toEqual({ route: '/', text: '' });
  });

  it('comes to the same bytes, however it was sharded', async () => {
    writeSite();
    const { digest, artifacts: stored } = await index(byRouteMap as Partitioner<never>);
    const pages = fc.record({
      pages_per_shard: fc.integer({ min: 1, max: 50 }),
      chunk_size_mb: fc.constantFrom(0.0003, 0.001, 10),
    });
    const files = fc.record({
      root: fc.constant('docs'),
      chunk_size_mb: fc.constantFrom(0.0005, 0.001, 0.003, 10),
    });
    const any = fc.oneof(
      pages.map((config) => [byRouteMap, config] as const),
      files.map((config) => [byFilesize, config] as const),
    );
    await fc.assert(
      fc.asyncProperty(any, async ([by, config]) => {
        const output = await index(by as Partitioner<never>, config);
        expect([output.digest, output.artifacts]).toEqual([digest, stored]);
        expect(output.value).toMatchObject({ documents: 42, left_out: by === byFilesize ? 1 : 0 });
      }),
      { numRuns: 15 },
    );
  });

  it('makes an index of nothing', async () => {
    const output = await collect([]);
    expect(output.value).toEqual({ documents: 0, terms: 0, left_out: 0, cut: 0 });
    expect(await search(output, 'word')).toEqual({ total: 0, items: [] });
    expect(MiniSearch.loadJSON(await textOf(output, 'index'), search_options).documentCount).toBe(0);
  });

  it('leaves out what is no document, and routes without a file', async () => {
    write('a.md', 'alpha');
    write('b.bin', Buffer.alloc(2_500));
    write('c.txt', 'text');
    const output = await index(byFilesize as Partitioner<never>, { chunk_size_mb: 0.001 });
    expect(output.value).toMatchObject({ documents: 1, left_out: 2 });
    const routed = await index(byRouteMap as Partitioner<never>, {
      urls: ['/live'],
      routes: { '/x': 'c.txt', '/a': 'a.md' },
    });
    expect(routed.value).toMatchObject({ documents: 1, left_out: 1 });
    expect((await search(routed, 'alpha')).items).toMatchObject([{ route: '/a', path: 'a.md' }]);
  });

  it('refuses a part of a document, saying what to do', async () => {
    write('big.md', 'x'.repeat(2_500));
    const [draft] = await partition(byFilesize as Partitioner<never>, { chunk_size_mb: 0.001 });
    const run = runShard(draft!);
    await expect(run).rejects.toMatchObject({ code: 'DOCUMENT_CUT', verdict: 'fail' });
    await expect(run).rejects.toThrow(/"big\.md" has 2500 bytes.*chunk_size_mb above 0\.0025/);
  });

  it.each<[Json]>([
    [null],
    [{ root: '.' }],
    [{ files: [] }],
    [{ root: '.', files: [['a.md', 1]] }],
    [{ root: '.', pages: [['/a', 'a.md', -1]] }],
    [{ root: '.', pages: [[3, 'a.md', 1]] }],
    [{ root: '.', part: ['a.bin', 10] }],
  ])('refuses the inputs %j', (inputs) => {
    expect(() => docsIndex.parse(inputs)).toThrow(FailShard);
  });

  it('fails a shard whose file changed, or that lacks a digest', async () => {
    write('a.md', 'before');
    const [draft] = await partition(byRouteMap as Partitioner<never>);
    await expect(runShard({ ...draft!, input_digests: [] })).rejects.toMatchObject({ code: 'BAD_INPUTS' });
    write('a.md', 'behind');
    await expect(runShard(draft!)).rejects.toMatchObject({ code: 'FILE_CHANGED', verdict: 'fail' });
    write('a.md', 'longer than before');
    await expect(runShard(draft!)).rejects.toMatchObject({ code: 'FILE_CHANGED' });
    rmSync(join(source, 'a.md'));
    await expect(runShard(draft!)).rejects.toThrow(/Submit the plan again/);
  });

  it('stops when it is told to', async () => {
    write('a.md', 'alpha');
    const [draft] = await partition(byRouteMap as Partitioner<never>);
    const inputs = docsIndex.parse(draft!.inputs);
    const run = docsIndex.run({ ...draft!, ordinal: 0, inputs, attempt: 1 }, context(AbortSignal.abort()));
    await expect(run).rejects.toThrow(/abort/i);
  });

  it('indexes the beginning of a document that is too long, and counts it', async () => {
    const line = 'filler '.repeat(20) + '\n\n';
    const long = 'needle\n\n' + line.repeat(1 + document_bytes_max / line.length) + '\n\nhaystack';
    write('long.md', long);
    write('bytes.md', Buffer.from([0x23, 0x20, 0xff, 0xfe, 0x61, 0x00, 0xc3]));
    const output = await index(byRouteMap as Partitioner<never>);
    expect(output.value).toMatchObject({ documents: 2, cut: 1 });
    expect((await search(output, 'needle')).total).toBe(1);
    expect((await search(output, 'haystack')).total).toBe(0);
  });

  it('retries when a segment is damaged', async () => {
    write('a.md', 'alpha');
    const shard = await runShard((await partition(byRouteMap as Partitioner<never>))[0]!);
    writeFileSync(join(base, 'artifacts', shard.digest.slice(0, 2), shard.digest.slice(2)), 'other bytes');
    await expect(collect([shard])).rejects.toThrow(RetryShard);
    await artifacts.quarantine(shard.digest);
  });
});

describe('over the Markdown of node_modules', () => {
  /** Picks that look arbitrary and are the same at every run. */
  const pick = <T>(list: readonly T[], i: number): T => list[(i * 7_919 + 13) % list.length]!;

  it('finds for 50 queries what MiniSearch over the whole finds: the same ten, the same scores', async () => {
    const found = await globby(['**/*.md', '**/*.html'], { cwd: 'node_modules', gitignore: false });
    const paths = found
      .sort()
      .filter((path) => !/[\p{Cc}]/u.test(path) && statSync(join('node_modules', path)).size < 6_000)
      .slice(0, 560);
    expect(paths.length).toBeGreaterThanOrEqual(500);
    for (const path of paths) write(path, readFileSync(join('node_modules', path)));
    const listed = (await globby('**/*', { cwd: source, dot: true })).sort();
    expect(listed).toEqual(paths);

    const output = await index(byRouteMap as Partitioner<never>, { root: '.', gitignore: false });
    expect(output.value).toMatchObject({ documents: paths.length, cut: 0 });
    const loaded = MiniSearch.loadJSON(await textOf(output, 'index'), search_options);
    const whole = indexedByMiniSearch(paths);
    expect(loaded.termCount).toBe(whole.termCount);

    const terms = [...new Set((await textOf(output, 'documents')).toLowerCase().match(/\b[a-z]{4,12}\b/g))];
    const queries = Array.from({ length: 50 }, (_, i) => {
      const word = pick(terms, i);
      if (i % 5 === 1) return `${word} ${pick(terms, i + 50)}`;
      if (i % 5 === 2) return word.slice(0, 4);
      if (i % 5 === 3) return word.slice(0, 2) + 'x' + word.slice(3);
      if (i % 5 === 4) return `how to ${word.toUpperCase()}`;
      return word;
    });
    let hits = 0;
    for (const query of queries) {
      const expected = topTen(whole.search(query));
      expect([query, topTen(loaded.search(query))]).toEqual([query, expected]);
      hits += expected.length;
    }
    expect(hits).toBeGreaterThan(200);
    const [query] = queries;
    const { total, items } = await search(output, query!, 3);
    expect(total).toBe(whole.search(query!).length);
    expect(items.map(({ route, score }) => [route, score])).toEqual(
      loaded
        .search(query!)
        .slice(0, 3)
        .map(({ id, score }) => [String(id), score]),
    );
  }, 120_000);
});

describe('createDocsSearch', () => {
  it('loads an index once, keeps two, and says when one cannot be used', async () => {
    const opened: Digest[] = [];
    const counting = {
      ...artifacts,
      open: (digest: Digest) => (opened.push(digest), artifacts.open(digest)),
    };
    const search = createDocsSearch(counting);
    const outputs: StageOutput[] = [];
    for (const text of ['alpha', 'beta', 'gamma']) {
      write('a.md', `# Title\n\n${text} and <b>more</b>`);
      outputs.push(await index(byRouteMap as Partitioner<never>));
    }
    const ask = (i: number, query: string): ReturnType<typeof search> => {
      const [found, documents] = outputs[i]!.artifacts;
      return search({ index: found!.digest, documents: documents!.digest, query, limit: 5 });
    };
    const [hits] = await Promise.all([ask(0, 'alpha'), ask(0, 'more'), ask(0, 'nothing')]);
    expect(hits).toEqual({
      total: 1,
      items: [
        {
          route: '/a',
          title: 'Title',
          path: 'a.md',
          snippet: 'Title alpha and more',
          matches: [[6, 5]],
          score: expect.any(Number) as number,
        },
      ],
    });
    expect(opened).toHaveLength(2);
    await ask(1, 'beta');
    await ask(0, 'alpha');
    await ask(2, 'gamma');
    expect(opened).toHaveLength(6);
    await ask(0, 'alpha');
    expect(opened).toHaveLength(6);
    await ask(1, 'beta');
    expect(opened).toHaveLength(8);

    // Other marks, the same words: the same index, but texts of its own.
    write('a.md', '# Title\n\nbeta! And more');
    outputs.push(await index(byRouteMap as Partitioner<never>));
    expect(outputs[3]!.digest).toBe(outputs[1]!.digest);
    expect((await ask(3, 'beta')).items).toMatchObject([{ snippet: 'Title beta! And more' }]);

    const missing = search({ index: sha256('no'), documents: sha256('no'), query: 'x', limit: 1 });
    await expect(missing).rejects.toThrow(IndexUnusable);
    const { digest } = outputs[2]!.artifacts[0]!;
    writeFileSync(join(base, 'artifacts', digest.slice(0, 2), digest.slice(2)), '{}');
    await expect(ask(2, 'gamma')).rejects.toThrow(/damaged.*submit the plan again/);
  });
});
