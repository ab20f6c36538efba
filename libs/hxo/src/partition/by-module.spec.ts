import fc from 'fast-check';
import { canonicalJson, sha256, type Json } from '#truth';
import { partitionTexts } from '../../../../test/fixtures/memory-workspace.js';
import { ConfigError } from '../plan/stage-config.js';
import { byModule } from './by-module.js';
import type { PartitionSummary, ShardDraft } from './contract.js';
import { partitioners } from './partitioners.js';

interface Inputs {
  readonly root: string;
  readonly module: {
    readonly name: string;
    readonly path: string;
    readonly digest: string;
    readonly manifest: readonly [string, number, string] | null;
    readonly part: readonly [number, number];
  };
  readonly files?: readonly (readonly [string, number, number])[];
  readonly part?: readonly [string, number, number, number, number];
}

type Texts = Readonly<Record<string, string>>;

async function run(
  texts: Texts,
  config: Record<string, Json> = {},
): Promise<{ drafts: ShardDraft[]; inputs: Inputs[]; summary: PartitionSummary }> {
  const { drafts, summary } = await partitionTexts(byModule, texts, config);
  return { drafts, summary, inputs: drafts.map(({ inputs }) => inputs as unknown as Inputs) };
}

/** The modules of each shard, and the paths below them. */
async function modulesOf(texts: Texts, config: Record<string, Json> = {}): Promise<Record<string, string[]>> {
  const { inputs } = await run(texts, config);
  return Object.fromEntries(inputs.map(({ module, files }) => [module.name, files!.map(([path]) => path)]));
}

const manifest = (content: object): string => JSON.stringify(content);
const two_packages: Texts = {
  'package.json': manifest({ workspaces: ['packages/*'] }),
  'README.md': 'in no module',
  'packages/a/package.json': manifest({ name: '@x/zebra' }),
  'packages/a/index.ts': 'a',
  'packages/a/run.sh': 'sh',
  'packages/b/package.json': manifest({ name: '@x/ant' }),
  'packages/b/data.bin': '',
};

it('is in the list', () => {
  expect(partitioners.get('by_module')).toBe(byModule);
});

describe('config', () => {
  it('has the fields of files, the modules and the size of a chunk', () => {
    expect(byModule.parse({ modules: ['a'] })).toEqual({
      root: '.',
      include: [],
      exclude: [],
      gitignore: true,
      modules: ['a'],
      chunk_size_mb: 10,
    });
    expect(byModule.parse({}).modules).toBeNull();
  });

  it.each<[string, Json]>([
    ['modules', []],
    ['modules', 'a'],
    ['modules', ['']],
    ['modules', [7]],
    ['modules', null],
    ['total_files', 3],
    ['chunk_size_mb', 0],
  ])('refuses %s = %j, naming the field', (field, value) => {
    expect(() => byModule.parse({ [field]: value })).toThrow(ConfigError);
    expect(() => byModule.parse({ [field]: value })).toThrow(field);
  });
});

describe('a workspace of npm packages', () => {
  it('gives a shard for each package, in the order of names, with all that a reader needs', async () => {
    const { drafts, summary } = await run(two_packages);
    const own = (name: string): string => sha256(two_packages[name]!);
    const row = (name: string): Json => [name, Buffer.byteLength(two_packages[name]!), name.endsWith('.sh') ? 1 : 0]; // prettier-ignore
    const [ant, zebra] = [
      ['packages/b/data.bin', 'packages/b/package.json'],
      ['packages/a/index.ts', 'packages/a/package.json', 'packages/a/run.sh'],
    ] as const;
    const digest = (names: readonly string[]): string =>
      sha256(canonicalJson(names.map((name) => [name, own(name)])));
    expect(drafts).toEqual([
      {
        wave: 0,
        weight: 17,
        inputs: {
          root: '.',
          module: {
            name: '@x/ant',
            path: 'packages/b',
            digest: digest(ant),
            manifest: [ant[1], 17, own(ant[1])],
            part: [0, 1],
          },
          files: ant.map(row),
        },
        input_digests: ant.map(own),
      },
      {
        wave: 0,
        weight: 22,
        inputs: {
          root: '.',
          module: {
            name: '@x/zebra',
            path: 'packages/a',
            digest: digest(zebra),
            manifest: [zebra[1], 19, own(zebra[1])],
            part: [0, 1],
          },
          files: zebra.map(row),
        },
        input_digests: zebra.map(own),
      },
    ]);
    expect(summary).toEqual({ matched: 2, taken: 2, truncated: 0 });
  });

  it.each<[Json, string[]]>([
    [['packages/*'], ['packages/a', 'packages/b']],
    [{ packages: ['packages/*'] }, ['packages/a', 'packages/b']],
    [
      ['./packages/a/', 'tools/**'],
      ['packages/a', 'tools/deep/t'],
    ],
    [['packages/*', '!packages/b'], ['packages/a']],
    [
      ['!packages/b', 'packages/*'],
      ['packages/a', 'packages/b'],
    ],
    [['packages/*', '!packages/**', 'packages/b'], ['packages/b']],
    [['**'], ['packages/a', 'packages/a/inner', 'packages/b', 'tools/deep/t']],
    [['packages/{a,c}'], ['packages/a']],
  ])('takes the globs %j of "workspaces"', async (workspaces, paths) => {
    const texts: Record<string, string> = { 'package.json': JSON.stringify({ workspaces }) };
    for (const path of ['packages/a', 'packages/a/inner', 'packages/b', 'tools/deep/t'])
      texts[`${path}/package.json`] = '{}';
    texts['packages/a/node_modules/m/package.json'] = '{}';
    texts['packages/no-manifest/index.ts'] = '';
    expect(Object.keys(await modulesOf(texts))).toEqual(paths);
  });

  it('gives a file to the deepest package that contains it', async () => {
    const texts = {
      'package.json': manifest({ workspaces: ['p', 'p/inner/deep'] }),
      'p/package.json': manifest({ name: 'outer' }),
      'p/a.ts': '',
      'p/inner/b.ts': '',
      'p/inner/deep/package.json': manifest({ name: 'deep' }),
      'p/inner/deep/c/d.ts': '',
      'p2/e.ts': '',
    };
    expect(await modulesOf(texts)).toEqual({
      deep: ['p/inner/deep/c/d.ts', 'p/inner/deep/package.json'],
      outer: ['p/a.ts', 'p/inner/b.ts', 'p/package.json'],
    });
  });

  it('finds packages whose package.json is not included, and leaves out those of which nothing is', async () => {
    const { inputs, summary } = await run(two_packages, { include: ['**/*.ts'] });
    expect(inputs.map(({ module, files }) => [module.name, files!.length])).toEqual([['@x/zebra', 1]]);
    expect(inputs[0]!.module.manifest).toEqual([
      'packages/a/package.json',
      19,
      sha256(two_packages['packages/a/package.json']!),
    ]);
    expect(summary).toEqual({ matched: 1, taken: 1, truncated: 0 });
  });

  it.each([
    ['is not a JSON object', '{"name"'],
    ['is not a JSON object', '[]'],
    ['has "workspaces" that are no list of globs', '{"workspaces":[7]}'],
    ['is larger than 1000000 bytes', `{"x":"${'x'.repeat(1_000_000)}"}`],
  ])('refuses a package.json that %s, naming it', async (what, text) => {
    await expect(run({ 'package.json': text })).rejects.toThrow(`"package.json" ${what}`);
    const texts = { ...two_packages, 'packages/a/package.json': text };
    await expect(run(texts)).rejects.toThrow(`"packages/a/package.json" ${what}`);
  });

  it('refuses two packages of one name, naming both folders', async () => {
    const texts = { ...two_packages, 'packages/b/package.json': manifest({ name: '@x/zebra' }) };
    await expect(run(texts)).rejects.toThrow(/"@x\/zebra": packages\/a and packages\/b/);
  });

  it('names a package whose name cannot be one by its folder', async () => {
    for (const name of [undefined, 7, '', 'new\nline', '\ud800', 'x'.repeat(215)]) {
      const texts = { ...two_packages, 'packages/b/package.json': manifest({ name }) };
      expect(Object.keys(await modulesOf(texts))).toEqual(['@x/zebra', 'packages/b']);
    }
  });
});

describe('folders of sources', () => {
  const texts = {
    'index.ts': 'in no module',
    'src/deep/er/a.ts': '',
    'src/data.json': '',
    'lib/package.json': manifest({ name: 'src' }),
    'lib/x.py': '',
    'docs/readme.md': 'no source',
    '.github/x.js': '',
    'node_modules/m/x.js': '',
  };

  it('are the modules where there are no packages, each with all that is in it', async () => {
    const { inputs } = await run(texts);
    expect(inputs.map(({ module, files }) => [module.name, files!.map(([path]) => path)])).toEqual([
      ['lib', ['lib/package.json', 'lib/x.py']],
      ['src', ['src/data.json', 'src/deep/er/a.ts']],
    ]);
    expect(inputs[0]!.module.manifest?.[0]).toBe('lib/package.json');
    expect(inputs[1]!.module.manifest).toBeNull();
  });

  it('are the modules too where "workspaces" match nothing', async () => {
    const with_globs = { ...texts, 'package.json': manifest({ workspaces: ['packages/*'] }) };
    expect(Object.keys(await modulesOf(with_globs))).toEqual(['lib', 'src']);
  });

  it('of nothing come to nothing', async () => {
    for (const nothing of [{}, { 'a.ts': '' }, { 'docs/a.md': '' }] as Texts[])
      expect(await run(nothing)).toEqual({
        drafts: [],
        inputs: [],
        summary: { matched: 0, taken: 0, truncated: 0 },
      });
  });
});

describe('modules', () => {
  it.each([[['@x/ant']], [['packages/b']], [['./packages/b/', '@x/ant']]])('takes %j', async (modules) => {
    const { inputs, summary } = await run(two_packages, { modules });
    expect(inputs.map(({ module }) => module.name)).toEqual(['@x/ant']);
    expect(summary).toEqual({ matched: 1, taken: 1, truncated: 0 });
  });

  it('takes a name before a path', async () => {
    const texts = {
      'package.json': manifest({ workspaces: ['a', 'b'] }),
      'a/package.json': manifest({ name: 'b' }),
      'b/package.json': manifest({ name: 'c' }),
    };
    expect(await modulesOf(texts, { modules: ['b'] })).toEqual({ b: ['a/package.json'] });
  });

  it('refuses an unknown one, listing what there is, twenty at most', async () => {
    const unknown = run(two_packages, { modules: ['@x/ant', '@x/bee'] });
    await expect(unknown).rejects.toThrow(ConfigError);
    await expect(unknown).rejects.toThrow(
      'modules names "@x/bee", which is no module. There are @x/ant (packages/b), @x/zebra (packages/a).',
    );
    await expect(run({}, { modules: ['x'] })).rejects.toThrow('There are none.');
    const many = Object.fromEntries(Array.from({ length: 25 }, (_, i) => [`m${i}/a.ts`, '']));
    await expect(run(many, { modules: ['x'] })).rejects.toThrow(/There are (m\d+, ){19}m\d+ and 5 more\.$/);
  });
});

describe('a module that is too large for one shard', () => {
  const texts = {
    'm/a': 'a'.repeat(60),
    'm/b.ts': 'b'.repeat(60),
    'm/large': Array.from({ length: 250 }, (_, i) => String.fromCharCode(97 + (i % 26))).join(''),
    'm/z': 'z',
  };

  it('is cut into parts that all tell the whole module, a large file into ranges', async () => {
    const { drafts, inputs } = await run(texts, { chunk_size_mb: 0.0001 });
    const digest = sha256(canonicalJson(Object.entries(texts).map(([path, text]) => [path, sha256(text)])));
    expect(inputs.map(({ module }) => module)).toEqual(
      Array.from({ length: 6 }, (_, i) => ({ name: 'm', path: 'm', digest, manifest: null, part: [i, 6] })),
    );
    expect(inputs.map(({ files, part }) => files ?? part)).toEqual([
      [['m/a', 60, 0]],
      [['m/b.ts', 60, 0]],
      ['m/large', 250, 0, 0, 100],
      ['m/large', 250, 0, 100, 100],
      ['m/large', 250, 0, 200, 50],
      [['m/z', 1, 0]],
    ]);
    const { large } = { large: texts['m/large'] };
    expect(drafts.map(({ input_digests }) => input_digests)).toEqual(
      [texts['m/a'], texts['m/b.ts'], large.slice(0, 100), large.slice(100, 200), large.slice(200), 'z'].map(
        (text) => [sha256(text)],
      ),
    );
    expect(drafts.map(({ weight }) => weight)).toEqual([60, 60, 100, 100, 50, 1]);
  });

  it('is cut at 4,096 files', async () => {
    const many = Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`m/${i}.ts`, '']));
    const { inputs } = await run(many);
    expect(inputs.length).toBeGreaterThan(1);
    expect(Math.max(...inputs.map(({ files }) => files!.length))).toBeLessThanOrEqual(4096);
  });
});

/** Trees with nested packages, folders without any, and files of sizes around a chunk of 100 bytes. */
const folder = fc.constantFrom('p/a', 'p/b', 'p/b/in', 'p/b/in/deep', 'q', 'q/r');
const trees = fc
  .record({
    packages: fc.uniqueArray(folder, { maxLength: 6 }),
    files: fc.uniqueArray(
      fc.record({
        path: fc.tuple(folder, fc.stringMatching(/^[a-z]{1,3}$/)).map(([dir, name]) => `${dir}/${name}.ts`),
        bytes: fc.oneof(fc.nat(30), fc.constantFrom(0, 99, 100, 101, 350)),
      }),
      { maxLength: 40, selector: ({ path }) => path },
    ),
  })
  .map(({ packages, files }) => ({
    'package.json': manifest({ workspaces: packages }),
    ...Object.fromEntries(packages.map((path) => [`${path}/package.json`, '{}'])),
    ...Object.fromEntries(files.map(({ path, bytes }) => [path, 'x'.repeat(bytes)])),
  }));
const small = { chunk_size_mb: 0.0001 };

/** What a shard's content id hangs on. */
const contentOf = ({ inputs, input_digests }: ShardDraft): string => canonicalJson({ inputs, input_digests });

it('tiles the files of all modules: every byte in one shard, whose digest it has', async () => {
  await fc.assert(
    fc.asyncProperty(trees, async (texts: Texts) => {
      const { drafts, inputs } = await run(texts, small);
      const folders = inputs.map(({ module }) => module.path);
      const expected = Object.keys(texts).filter((path) =>
        folders.some((module) => path.startsWith(`${module}/`)),
      );
      const covered = new Map<string, string>();
      for (const [i, { files, part, module }] of inputs.entries()) {
        const ranges = files?.map(([path, bytes]) => [path, bytes, 0, bytes] as const) ?? [
          [part![0], part![1], part![3], part![4]] as const,
        ];
        for (const [at, [path, bytes, offset, length]] of ranges.entries()) {
          const text = texts[path]!;
          expect(text.length).toBe(bytes);
          expect(covered.get(path) ?? '').toHaveLength(offset);
          expect(drafts[i]!.input_digests[at]).toBe(sha256(text.slice(offset, offset + length)));
          covered.set(path, text.slice(0, offset + length));
          const deeper = folders.filter((other) => other.length > module.path.length);
          expect(deeper.some((other) => path.startsWith(`${other}/`))).toBe(false);
        }
        expect(ranges.reduce((sum, [, , , length]) => sum + length, 0)).toBeLessThanOrEqual(100);
      }
      expect([...covered.keys()].sort()).toEqual(expected.sort());
      for (const path of expected) expect(covered.get(path)).toBe(texts[path]);
    }),
    { numRuns: 60 },
  );
});

it('makes the same of the same, and only the edited module anew after an edit', async () => {
  await fc.assert(
    fc.asyncProperty(trees, fc.nat(), async (texts: Texts, pick) => {
      const before = await run(texts, small);
      expect(await run({ ...texts }, small)).toEqual(before);
      const paths = Object.keys(texts).filter((path) => path.endsWith('.ts') && texts[path] !== '');
      fc.pre(paths.length > 0);
      const path = paths[pick % paths.length]!;
      const after = await run({ ...texts, [path]: 'y'.repeat(texts[path]!.length) }, small);
      const known = new Set(before.drafts.map(contentOf));
      const changed = after.drafts.flatMap((draft, i) =>
        known.has(contentOf(draft)) ? [] : [after.inputs[i]!],
      );
      const holds = ({ files, part }: Inputs): boolean =>
        part?.[0] === path || (files ?? []).some((row) => row[0] === path);
      const holder = after.inputs.find(holds);
      expect(new Set(changed.map(({ module }) => module.name))).toEqual(
        new Set(holder === undefined ? [] : [holder.module.name]),
      );
      if (holder?.module.part[1] === 1) expect(changed).toEqual([holder]);
    }),
    { numRuns: 60 },
  );
});
