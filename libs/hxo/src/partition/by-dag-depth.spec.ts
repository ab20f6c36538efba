import fc from 'fast-check';
import { canonicalJson, sha256, type Json } from '#truth';
import { partitionTexts } from '../../../../test/fixtures/memory-workspace.js';
import { ConfigError } from '../plan/stage-config.js';
import { byDagDepth, dagDepth } from './by-dag-depth.js';
import type { PartitionSummary, ShardDraft } from './contract.js';
import { layersOf } from './import-layers.js';
import { importsOf } from './imports-of.js';
import { partitioners } from './partitioners.js';

type Texts = Readonly<Record<string, string>>;

interface Inputs {
  readonly depth: number;
  readonly modules: readonly { readonly name: string; readonly path: string; readonly digest: string }[];
  readonly files: readonly (readonly [string, number, number])[];
}

/** Readers that are open. */
let open = 0;
/** Parses in this thread: the sources here are harmless. */
const partitioner = dagDepth(() => {
  open++;
  return {
    read: async (sources) => sources.map(({ path, text }) => importsOf(path, text)),
    close: () => void open--,
  };
});
afterEach(() => expect(open).toBe(0));

async function run(
  texts: Texts,
  config: Record<string, Json> = {},
): Promise<{ drafts: ShardDraft[]; inputs: Inputs[]; summary: PartitionSummary }> {
  const { drafts, summary } = await partitionTexts(partitioner, texts, config);
  return { drafts, summary, inputs: drafts.map(({ inputs }) => inputs as unknown as Inputs) };
}

/** Names of the modules of each wave. */
async function layers(texts: Texts, config: Record<string, Json> = {}): Promise<string[][]> {
  const { drafts, inputs } = await run(texts, config);
  const names: string[][] = [];
  for (const [i, { wave }] of drafts.entries()) {
    expect(inputs[i]!.depth).toBe(wave);
    (names[wave] ??= []).push(...inputs[i]!.modules.map(({ name }) => name));
  }
  return names;
}

it('is in the list', () => {
  expect(partitioners.get('by_dag_depth')).toBe(byDagDepth);
});

describe('config', () => {
  it('has the fields of files, the layers and the size of a chunk', () => {
    expect(partitioner.parse({ max_depth: 2 })).toEqual({
      root: '.',
      include: [],
      exclude: [],
      gitignore: true,
      max_depth: 2,
      chunk_size_mb: 10,
    });
    expect(partitioner.parse({}).max_depth).toBeNull();
  });

  it.each<[string, Json]>([
    ['max_depth', 0],
    ['max_depth', 1.5],
    ['max_depth', '2'],
    ['max_depth', null],
    ['modules', ['a']],
  ])('refuses %s = %j, naming the field', (field, value) => {
    expect(() => partitioner.parse({ [field]: value })).toThrow(ConfigError);
    expect(() => partitioner.parse({ [field]: value })).toThrow(field);
  });
});

describe('the graph of files', () => {
  const texts = {
    'README.md': 'import "./src/app.js"',
    'src/app.ts':
      'import "./view.js"; import "./util/index.js"; import "react"; export * from "./missing.js"',
    'src/view.tsx': 'import type { U } from "./util"; const d = require("./data.json")',
    'src/data.json': '{}',
    'src/util/index.ts': 'export {}',
    'src/lazy.mjs': 'const app = await import("./app.ts")',
    'src/broken.ts': 'import "./app.js"; ((((',
  };

  it('gives a wave for each layer, with all that a reader needs', async () => {
    const { drafts, summary } = await run(texts);
    const content = (path: keyof typeof texts): string => sha256(texts[path]);
    const module = (path: keyof typeof texts): Json => ({
      name: path,
      path,
      digest: sha256(canonicalJson([[path, content(path)]])),
    });
    const layer = (depth: number, paths: (keyof typeof texts)[]): object => ({
      wave: depth,
      weight: paths.reduce((sum, path) => sum + texts[path].length, 0),
      inputs: {
        root: '.',
        depth,
        modules: paths.map(module),
        files: paths.map((path) => [path, texts[path].length, 0]),
      },
      input_digests: paths.map(content),
    });
    expect(drafts).toEqual([
      layer(0, ['src/broken.ts', 'src/util/index.ts']),
      layer(1, ['src/view.tsx']),
      layer(2, ['src/app.ts']),
      layer(3, ['src/lazy.mjs']),
    ]);
    expect(summary).toEqual({ matched: 5, taken: 5, truncated: 0 });
  });

  it('ends at max_depth, and counts what lies deeper', async () => {
    const { drafts, summary } = await run(texts, { max_depth: 2 });
    expect(drafts.map(({ wave }) => wave)).toEqual([0, 1]);
    expect(summary).toEqual({ matched: 5, taken: 3, truncated: 2 });
    expect((await run(texts, { max_depth: 99 })).summary).toEqual({ matched: 5, taken: 5, truncated: 0 });
  });

  it('knows only what is listed, and parses no source above 5 MB', async () => {
    expect(await layers(texts, { exclude: ['src/app.ts'] })).toEqual([
      ['src/broken.ts', 'src/lazy.mjs', 'src/util/index.ts'],
      ['src/view.tsx'],
    ]);
    const large = {
      'a.js': '',
      'b.js': `import "./a.js";${' '.repeat(4_999_983)}`,
      'c.js': `import "./a.js";${' '.repeat(4_999_984)}`,
      'd.js': `import "./a.js";${' '.repeat(4_999_985)}`,
    };
    expect(await layers(large)).toEqual([['a.js', 'd.js'], ['b.js', 'c.js']]); // prettier-ignore
  });

  it('of nothing is nothing', async () => {
    const nothing = { drafts: [], inputs: [], summary: { matched: 0, taken: 0, truncated: 0 } };
    expect(await run({})).toEqual(nothing);
    expect(await run({ 'a.md': '', 'b.json': '{}' })).toEqual(nothing);
  });
});

describe('the graph of packages', () => {
  const manifest = (name: string, more: object = {}): string => JSON.stringify({ name, ...more });
  const texts: Texts = {
    'package.json': JSON.stringify({ workspaces: ['packages/*'] }),
    'scripts/build.ts': 'in no module',
    'packages/core/package.json': manifest('@x/core', { dependencies: { typescript: '*' } }),
    'packages/core/index.ts': 'import "node:fs"; import "@x/core/self"; import "./other.js"',
    'packages/core/logo.svg': '<svg/>',
    'packages/by-name/package.json': manifest('@x/by-name'),
    'packages/by-name/a.ts': 'import { y } from "@x/core/deep/path"',
    'packages/by-path/package.json': manifest('by-path'),
    'packages/by-path/a.cjs': 'require("../core/dist/not-built.js")',
    'packages/by-folder/package.json': manifest('by-folder'),
    'packages/by-folder/a.cjs': 'require("../core")',
    'packages/by-manifest/package.json': manifest('by-manifest', { devDependencies: { '@x/core': '*' } }),
    'packages/peer/package.json': manifest('peer', { peerDependencies: { 'by-path': '*', by: '1' } }),
    'packages/ring-1/package.json': manifest('ring-1', { dependencies: { 'ring-2': '*' } }),
    'packages/ring-2/package.json': manifest('ring-2', {
      optionalDependencies: { 'ring-1': '*', peer: '*' },
    }),
  };

  it('has edges from imports by name and path, and from package.json', async () => {
    expect(await layers(texts)).toEqual([
      ['@x/core'],
      ['@x/by-name', 'by-folder', 'by-manifest', 'by-path'],
      ['peer'],
      ['ring-1', 'ring-2'],
    ]);
  });

  it('has all files of a package in its shard, and its path and digest', async () => {
    const { inputs } = await run(texts);
    const paths = ['index.ts', 'logo.svg', 'package.json'].map((name) => `packages/core/${name}`);
    expect(inputs[0]!.files.map(([path]) => path)).toEqual(paths);
    const digest = sha256(canonicalJson(paths.map((path) => [path, sha256(texts[path]!)])));
    expect(inputs[0]!.modules).toEqual([{ name: '@x/core', path: 'packages/core', digest }]);
  });

  it('goes on with a large package in the next shard of its wave, a large file whole', async () => {
    const large = {
      'package.json': JSON.stringify({ workspaces: ['a', 'b'] }),
      'a/package.json': '{}',
      'a/1': 'x'.repeat(90),
      'a/2': 'x'.repeat(90),
      'a/3': 'x'.repeat(900),
      'b/package.json': '{}',
    };
    const { inputs, drafts } = await run(large, { chunk_size_mb: 0.0001 });
    expect(drafts.map(({ wave }) => wave)).toEqual(drafts.map(() => 0));
    const rows = inputs.map(({ modules, files }) => [
      modules.map(({ name }) => name).join(),
      files.map(([path]) => path).join(),
    ]);
    expect(rows).toEqual([
      ['a', 'a/1'],
      ['a', 'a/2'],
      ['a', 'a/3'],
      ['a,b', 'a/package.json,b/package.json'],
    ]);
    expect(new Set(inputs.flatMap(({ modules }) => modules.map(({ digest }) => digest))).size).toBe(2);
  });
});

/** Source files that import each other at random, some of them of sizes around a shard of 100 bytes. */
const graphs = fc.integer({ min: 1, max: 25 }).chain((n) =>
  fc.array(
    fc.record({
      imports: fc.array(fc.nat(n - 1), { maxLength: 3 }),
      padding: fc.oneof(fc.nat(40), fc.constantFrom(99, 100, 250)),
    }),
    { minLength: n, maxLength: n },
  ),
);
const path = (i: number): string => `s/${String(i).padStart(2, '0')}.ts`;
const textsOf = (
  nodes: readonly { readonly imports: readonly number[]; readonly padding: number }[],
): Record<string, string> =>
  Object.fromEntries(
    nodes.map(({ imports, padding }, i) => [
      path(i),
      imports.map((to) => `import "./${path(to).slice(2, 4)}.js";`).join('') + ' '.repeat(padding),
    ]),
  );

it('tiles the files in bounded shards, waves never falling and none left out, each above what it imports', async () => {
  await fc.assert(
    fc.asyncProperty(graphs, fc.option(fc.integer({ min: 1, max: 6 })), async (nodes, max_depth) => {
      const texts = textsOf(nodes);
      const config = { chunk_size_mb: 0.0001, ...(max_depth !== null && { max_depth }) };
      const { drafts, inputs, summary } = await run(texts, config);
      const expected = layersOf(nodes.map(({ imports }) => imports));
      const taken = nodes.map((_, i) => i).filter((i) => expected[i]! < (max_depth ?? Infinity));
      expect(summary).toEqual({
        matched: nodes.length,
        taken: taken.length,
        truncated: nodes.length - taken.length,
      });
      const rows = inputs.flatMap(({ depth, files }) => files.map(([file]) => [file, depth]));
      expect(rows).toHaveLength(taken.length);
      expect(Object.fromEntries(rows)).toEqual(Object.fromEntries(taken.map((i) => [path(i), expected[i]])));
      let wave = 0;
      for (const [i, draft] of drafts.entries()) {
        expect([wave, wave + 1]).toContain(draft.wave);
        expect(i > 0 || draft.wave === 0).toBe(true);
        wave = draft.wave;
        const { files, modules } = inputs[i]!;
        expect(modules.map(({ name }) => name)).toEqual(files.map(([file]) => file));
        expect(draft.input_digests).toEqual(files.map(([file]) => sha256(texts[file]!)));
        const bytes = files.reduce((sum, [, size]) => sum + Math.min(size, 100), 0);
        expect(bytes).toBeLessThanOrEqual(100);
        const in_order = files.map(([file]) => file);
        expect(in_order).toEqual([...in_order].sort());
      }
      expect((await run({ ...texts }, config)).drafts).toEqual(drafts);
    }),
    { numRuns: 150 },
  );
});

it('changes only the shard that holds an edited file, as long as its imports and size stay', async () => {
  await fc.assert(
    fc.asyncProperty(graphs, fc.nat(), async (nodes, pick) => {
      const texts = textsOf(nodes);
      const edited = path(pick % nodes.length);
      fc.pre(texts[edited]!.endsWith(' '));
      const config = { chunk_size_mb: 0.0001 };
      const before = new Set((await run(texts, config)).drafts.map((draft) => canonicalJson({ ...draft })));
      const after = await run({ ...texts, [edited]: texts[edited]!.slice(0, -1) + ';' }, config);
      const changed = after.inputs.filter((_, i) => !before.has(canonicalJson({ ...after.drafts[i]! })));
      expect(changed.map(({ files }) => files.some(([file]) => file === edited))).toEqual([true]);
    }),
    { numRuns: 100 },
  );
});

it('closes the reader when the workspace fails', async () => {
  const failing = {
    list: async () => [{ path: 'a.ts', bytes: 1, executable: false }],
    read: (): AsyncIterable<Uint8Array> => {
      throw new Error('gone: a.ts');
    },
    digest: async () => sha256(''),
  };
  const shards = partitioner.partition(partitioner.parse({}), { workspace: failing });
  await expect(shards.next()).rejects.toThrow('gone: a.ts');
});
