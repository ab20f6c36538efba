import fc from 'fast-check';
import { sha256, type Digest, type Json } from '#truth';
import {
  WorkspacePathError,
  type FileRange,
  type ListingOptions,
  type Workspace,
  type WorkspaceFile,
} from '../execute/workspace.js';
import { ConfigError } from '../plan/stage-config.js';
import { byRouteMap } from './by-route-map.js';
import type { PartitionSummary, ShardDraft } from './contract.js';
import { partitioners } from './partitioners.js';

type Texts = Readonly<Record<string, string>>;

/** A workspace in memory. Its folders are those that its files lie in. */
class FakeWorkspace implements Workspace {
  constructor(private readonly texts: Texts) {}

  async list({ root }: ListingOptions): Promise<WorkspaceFile[]> {
    const prefix = root === '.' ? '' : `${root}/`;
    const paths = Object.keys(this.texts).filter((path) => path.startsWith(prefix));
    if (prefix !== '' && paths.length === 0) throw new WorkspacePathError(`"${root}" is not a folder.`);
    return paths.sort().map((path) => ({
      path: path.slice(prefix.length),
      bytes: this.texts[path]!.length,
      executable: false,
    }));
  }

  async *read(file: { root: string; path: string }): AsyncGenerator<Uint8Array> {
    yield Buffer.from(this.texts[file.root === '.' ? file.path : `${file.root}/${file.path}`]!);
  }

  async digest({ root, path }: FileRange): Promise<Digest> {
    return sha256(this.texts[root === '.' ? path : `${root}/${path}`]!);
  }
}

type Row = [route: string, path: string | null, bytes: number];

interface Run {
  readonly drafts: readonly ShardDraft[];
  readonly summary: PartitionSummary;
  /** Each shard's prefix and routes. */
  readonly shards: readonly [string, string[]][];
}

async function run(texts: Texts, config: Record<string, Json> = {}): Promise<Run> {
  const shards = byRouteMap.partition(byRouteMap.parse(config), { workspace: new FakeWorkspace(texts) });
  const drafts: ShardDraft[] = [];
  for (let next = await shards.next(); ; next = await shards.next()) {
    if (next.done) return { drafts, summary: next.value, shards: drafts.map(prefixAndRoutes) };
    drafts.push(next.value);
  }
}

function prefixAndRoutes(draft: ShardDraft): [string, string[]] {
  const { prefix, pages } = inputsOf(draft);
  return [prefix, pages.map(([route]) => route)];
}

function inputsOf(draft: ShardDraft): { root: string; prefix: string; pages: Row[] } {
  return draft.inputs as unknown as { root: string; prefix: string; pages: Row[] };
}

const site: Texts = {
  'docs/README.md': '# Home',
  'docs/faq.md': 'questions',
  'docs/guide/index.md': 'guide',
  'docs/guide/start.md': 'start here',
  'docs/api/http.html': '<h1>HTTP</h1>',
  'docs/logo.png': 'no page',
  'src/readme.md': 'elsewhere',
};

describe('by_route_map', () => {
  it('finds the pages of docs/, grouped by the first part of their routes', async () => {
    const { drafts, summary, shards } = await run(site);
    expect(shards).toEqual([
      ['/', ['/', '/faq']],
      ['/api', ['/api/http']],
      ['/guide', ['/guide', '/guide/start']],
    ]);
    expect(drafts[2]).toEqual({
      wave: 0,
      weight: 15,
      inputs: {
        root: 'docs',
        prefix: '/guide',
        pages: [
          ['/guide', 'guide/index.md', 5],
          ['/guide/start', 'guide/start.md', 10],
        ],
      },
      input_digests: [sha256('guide'), sha256('start here')],
    });
    expect(summary).toEqual({ matched: 5, taken: 5, truncated: 0 });
    expect(partitioners.get('by_route_map')).toBe(byRouteMap);
  });

  it('looks at the whole workspace when it has no docs/, and where it is told to', async () => {
    expect((await run({ 'manual/a.md': 'a', 'b.md': 'b' })).shards).toEqual([
      ['/', ['/b']],
      ['/manual', ['/manual/a']],
    ]);
    const { drafts } = await run(site, { root: 'src' });
    expect(drafts.map(inputsOf)).toEqual([{ root: 'src', prefix: '/', pages: [['/', 'readme.md', 9]] }]);
    await expect(run(site, { root: 'nowhere' })).rejects.toThrow(WorkspacePathError);
    expect(await run({})).toMatchObject({ drafts: [], summary: { matched: 0, taken: 0, truncated: 0 } });
  });

  it('takes what lies at or below prefixes, and names those that it knows when one is unknown', async () => {
    const { shards, summary } = await run(site, { routes: ['/guide/', '/faq'] });
    expect(shards).toEqual([
      ['/', ['/faq']],
      ['/guide', ['/guide', '/guide/start']],
    ]);
    expect(summary).toEqual({ matched: 3, taken: 3, truncated: 0 });
    expect((await run(site, { routes: ['/'] })).summary.taken).toBe(5);
    const unknown = run(site, { routes: ['/gui'] });
    await expect(unknown).rejects.toThrow(ConfigError);
    await expect(unknown).rejects.toThrow(/^routes: .*"\/gui".*Known prefixes: \/, \/api, \/guide\./);
  });

  it('maps routes to files, folders and globs', async () => {
    const routes = {
      '/logo': 'logo.png',
      '/handbook': 'guide',
      '/reference/': 'api/**/*.html',
      '/q': './faq.md',
    };
    expect((await run(site, { routes })).drafts.flatMap((draft) => inputsOf(draft).pages)).toEqual([
      ['/logo', 'logo.png', 7],
      ['/q', 'faq.md', 9],
      ['/handbook', 'guide/index.md', 5],
      ['/handbook/start', 'guide/start.md', 10],
      ['/reference/http', 'api/http.html', 13],
    ]);
    await expect(run(site, { routes: { '/x': 'no/*.md' } })).rejects.toThrow(
      /^routes: "no\/\*\.md" of "\/x"/,
    );
    const twice = run(site, { routes: { '/a': 'guide', '/a/start': 'faq.md' } });
    await expect(twice).rejects.toThrow(/"\/a\/start".*guide\/start\.md.*faq\.md/);
    // One file may have two routes, and one route may be told twice of one file.
    expect(
      (
        await run(site, {
          routes: { '/a': 'guide', '/a/start': 'guide/start.md', '/b': 'faq.md', '/c': 'faq.md' },
        })
      ).summary.taken,
    ).toBe(4);
  });

  it('adds routes without a file, and none twice', async () => {
    const { drafts } = await run(site, {
      routes: [],
      urls: ['/live?tab=a/b', '/live/chat', '/', '/live/chat'],
    });
    expect(drafts.map(({ inputs, input_digests }) => ({ inputs, input_digests }))).toEqual([
      { inputs: { root: '.', prefix: '/', pages: [['/', null, 0]] }, input_digests: [] },
      {
        inputs: { root: '.', prefix: '/live', pages: [['/live/chat', null, 0], ['/live?tab=a/b', null, 0]] },
        input_digests: [],
      },
    ]); // prettier-ignore
    expect((await run(site, { urls: ['/faq', '/live'] })).summary).toEqual({
      matched: 6,
      taken: 6,
      truncated: 0,
    });
  });

  it('never cuts a file: one larger than a shard has a shard of its own', async () => {
    const { drafts } = await run(
      { 'a.md': 'aa', 'big.md': 'x'.repeat(25), 'c.md': 'cc' },
      { chunk_size_mb: 0.00001 },
    );
    expect(drafts.map(({ weight }) => weight)).toEqual([2, 25, 2]);
    expect(drafts[1]!.input_digests).toEqual([sha256('x'.repeat(25))]);
  });

  it.each<[string, Json]>([
    ['routes', 'guide'],
    ['routes', ['guide']],
    ['routes', ['//host']],
    ['routes', [7]],
    ['routes', { guide: 'x.md' }],
    ['routes', { '/guide': '/etc/passwd' }],
    ['routes', { '/guide': '../x.md' }],
    ['routes', { '/guide': 3 }],
    ['routes', Array.from({ length: 1001 }, () => '/a')],
    ['urls', '/a'],
    ['urls', ['http://host/']],
    ['urls', ['/\\host']],
    ['urls', ['/a b']],
    ['pages_per_shard', 0],
    ['pages_per_shard', 5000],
    ['root', '../up'],
    ['chunk_size_mb', 0],
    ['pages', 1],
  ])('refuses %s: %j', (field, value) => {
    expect(() => byRouteMap.parse({ [field]: value })).toThrow(ConfigError);
    try {
      byRouteMap.parse({ [field]: value });
    } catch (error) {
      expect(error).toMatchObject({ field });
    }
  });
});

describe('by_route_map, over any site', () => {
  const name = fc.constantFrom('a', 'b', 'c', 'index', 'x1', 'x2', 'x3', 'x4', 'x5', 'x6');
  const anySite = fc
    .array(
      fc.tuple(fc.array(name, { maxLength: 2 }), name, fc.constantFrom('.md', '.html', '.txt'), fc.nat(30)),
      {
        maxLength: 60,
      },
    )
    .map((files) =>
      Object.fromEntries(
        files.map(([folders, own, end, bytes]) => [[...folders, own + end].join('/'), 'x'.repeat(bytes)]),
      ),
    );
  const limits = { pages_per_shard: 4, chunk_size_mb: 0.00004 };

  it('puts each page into one shard, in order, within the limits; twice the same', async () => {
    await fc.assert(
      fc.asyncProperty(anySite, async (texts) => {
        const { drafts, summary } = await run(texts, limits);
        const pages = drafts.flatMap((draft) => inputsOf(draft).pages);
        const documents = Object.keys(texts).filter((path) => !path.endsWith('.txt'));
        expect(pages.map(([, path]) => path).sort()).toEqual(documents.sort());
        expect(new Set(pages.map(([route]) => route)).size).toBe(pages.length);
        expect(summary).toEqual({ matched: pages.length, taken: pages.length, truncated: 0 });
        for (const draft of drafts) {
          const { pages: own } = inputsOf(draft);
          const bytes = own.reduce((sum, row) => sum + row[2], 0);
          expect(own.map(([route]) => route)).toEqual(own.map(([route]) => route).sort());
          expect(own.length).toBeLessThanOrEqual(4);
          expect(bytes).toBeLessThanOrEqual(40);
          expect(draft.input_digests).toEqual(own.map(([, path]) => sha256(texts[path!]!)));
        }
        const prefixes = drafts.map((draft) => inputsOf(draft).prefix);
        expect(prefixes).toEqual([...prefixes].sort());
        expect((await run(texts, limits)).drafts).toEqual(drafts);
      }),
      { numRuns: 60 },
    );
  });

  it('changes one shard when the content of a page does, and few when a page comes', async () => {
    const texts = Object.fromEntries(
      Array.from({ length: 400 }, (_, i) => [`d${i % 5}/p${String(i).padStart(3, '0')}.md`, `page ${i}`]),
    );
    const changed = async (other: Texts): Promise<number> => {
      const keys = ({ drafts }: Run): string[] =>
        drafts.map(({ inputs, input_digests }) => JSON.stringify([inputs, input_digests]));
      const before = new Set(keys(await run(texts, { pages_per_shard: 8 })));
      return keys(await run(other, { pages_per_shard: 8 })).filter((key) => !before.has(key)).length;
    };
    expect(await changed(texts)).toBe(0);
    let most = 0;
    for (let i = 0; i < 400; i += 40) {
      const path = Object.keys(texts)[i]!;
      expect(await changed({ ...texts, [path]: 'PAGE 0'.padEnd(texts[path]!.length) })).toBe(1);
      most = Math.max(most, await changed({ ...texts, [path.replace('.md', 'x.md')]: 'new' }));
    }
    expect(most).toBeLessThanOrEqual(4);
  });
});
