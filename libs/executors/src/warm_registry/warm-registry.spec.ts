import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import fc from 'fast-check';
import {
  createArtifactStore,
  createFileCache,
  createWorkspace,
  type FileArtifactStore,
} from '#adapters/files';
import {
  cacheKey,
  CacheUnavailable,
  canonicalJson,
  sha256,
  type Cache,
  type CollectedShard,
  type ExecutorContext,
  type HttpClient,
  type Json,
  type ShardOutput,
} from '#hxo/execute';
import { registryEntry } from './entry.js';
import { warmRegistry } from './warm-registry.js';

let base: string;
let artifacts: FileArtifactStore;
let cache: Cache;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'hxo-registry-'));
  mkdirSync(join(base, 'source'));
  artifacts = createArtifactStore(join(base, 'artifacts'));
  cache = createFileCache(join(base, 'cache'));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

function write(path: string, content: string): void {
  mkdirSync(dirname(join(base, 'source', path)), { recursive: true });
  writeFileSync(join(base, 'source', path), content);
}

function context(change: Partial<ExecutorContext> = {}): ExecutorContext {
  return {
    artifacts,
    cache,
    workspace: createWorkspace({ root: join(base, 'source'), forbidden: [] }),
    http: {} as HttpClient,
    signal: new AbortController().signal,
    log: () => undefined,
    ...change,
  };
}

interface Described {
  readonly name: string;
  readonly path: string;
  readonly manifest?: string;
  readonly files?: Readonly<Record<string, string>>;
  readonly part?: readonly [number, number];
}

/** Inputs as by_module makes them, of files that are written to the workspace. */
function inputsOf({ name, path, manifest, files = {}, part = [0, 1] }: Described): Json {
  const all = { ...(manifest !== undefined && { 'package.json': manifest }), ...files };
  for (const [file, content] of Object.entries(all)) write(`${path}/${file}`, content);
  const bytes = (content: string): number => Buffer.byteLength(content);
  return {
    root: '.',
    module: {
      ...{ name, path, part, digest: sha256(canonicalJson(all)) },
      manifest: manifest === undefined ? null : [`${path}/package.json`, bytes(manifest), sha256(manifest)],
    },
    files: Object.entries(all).map(([file, content]) => [`${path}/${file}`, bytes(content), 0]),
  };
}

async function run(inputs: Json, change: Partial<ExecutorContext> = {}): Promise<ShardOutput> {
  const parsed = warmRegistry.parse(inputs);
  return warmRegistry.run({ ordinal: 0, inputs: parsed, input_digests: [], attempt: 1 }, context(change));
}

async function entryOf(module: string): Promise<Json> {
  const bytes = await cache.get(cacheKey('registry', module));
  return bytes === null ? null : (JSON.parse(Buffer.from(bytes).toString()) as Json);
}

const failed = (code: string) => expect.objectContaining({ verdict: 'fail', code }) as Error;

const manifest = JSON.stringify({
  name: '@scope/lib',
  version: '1.2.3',
  main: './dist/index.js',
  module: 'dist/index.mjs',
  typings: './dist/index.d.ts',
  bin: { lib: './bin/lib.js', evil: '../../bin/sh' },
  exports: {
    '.': { import: { types: './dist/index.d.ts', default: './dist/index.mjs' }, require: './dist/index.js' },
    './feature': ['./dist/feature.js', './dist/feature.cjs'],
    './icons/*': './icons/*.svg',
    './internal/*': null,
    './outside': './../secret.js',
  },
  dependencies: { 'left-pad': '^1.0.0' },
  peerDependencies: { react: '>=18' },
  optionalDependencies: { fsevents: '*' },
  devDependencies: { jest: '1' },
});

it('puts an entry with all that a registry tells of a module', async () => {
  const inputs = inputsOf({ name: '@scope/lib', path: 'packages/lib', manifest, files: { 'a.js': 'abc' } });
  const output = await run(inputs);
  const entry = {
    module: '@scope/lib',
    path: 'packages/lib',
    version: '1.2.3',
    entry_points: {
      main: 'dist/index.js',
      module: 'dist/index.mjs',
      types: 'dist/index.d.ts',
      exports: ['dist/index.d.ts', 'dist/index.js', 'dist/index.mjs'],
      bin: { lib: 'bin/lib.js' },
    },
    exports: {
      '.': ['dist/index.d.ts', 'dist/index.js', 'dist/index.mjs'],
      './feature': ['dist/feature.cjs', 'dist/feature.js'],
      './icons/*': ['icons/*.svg'],
      './internal/*': [],
      './outside': [],
    },
    dependencies: { 'left-pad': '^1.0.0' },
    peer_dependencies: { react: '>=18' },
    optional_dependencies: { fsevents: '*' },
    digest: (inputs as { module: { digest: string } }).module.digest,
    files: 2,
    bytes: manifest.length + 3,
  };
  expect(await entryOf('@scope/lib')).toEqual(entry);
  expect(output.digest).toBe(sha256(canonicalJson(entry)));
  expect(await artifacts.verify(output.digest!)).toBe('ok');
});

it('gives one digest whether the cache had the entry or not, and mends one that is another', async () => {
  const inputs = inputsOf({ name: 'lib', path: 'lib', manifest });
  const outputs = [await run(inputs), await run(inputs)];
  await cache.put(cacheKey('registry', 'lib'), Buffer.from('{}'));
  outputs.push(await run(inputs));
  expect(new Set(outputs.map(({ digest }) => digest)).size).toBe(1);
  const puts = outputs.map(({ value }) => (value as { observed: { put: string } }).observed.put);
  expect(puts).toEqual(['written', 'unchanged', 'written']);
  expect(await entryOf('lib')).toMatchObject({ version: '1.2.3' });
});

it('takes index files for entry points where nothing else is said', async () => {
  await run(
    inputsOf({ name: 'src', path: 'src', files: { 'index.ts': '', 'index.js': '', 'lib/x.ts': '' } }),
  );
  expect(await entryOf('src')).toMatchObject({
    ...{ version: null, exports: {}, files: 3 },
    entry_points: { main: 'index.js', module: null, types: null, exports: [], bin: {} },
  });
  await run(inputsOf({ name: 'none', path: 'none', files: { 'lib/index.ts': '' } }));
  expect(await entryOf('none')).toMatchObject({ entry_points: { main: null } });
  const bare = inputsOf({
    name: 'bare',
    path: '.',
    manifest: '{"bin":"cli.js"}',
    files: { 'index.mjs': '' },
  });
  await run(JSON.parse(JSON.stringify(bare).replaceAll('./', '')) as Json);
  expect(await entryOf('bare')).toMatchObject({
    entry_points: { main: 'index.mjs', bin: { bare: 'cli.js' } },
  });
});

it('lets the first part of a module speak for it', async () => {
  const first = inputsOf({ name: 'big', path: 'big', manifest, part: [0, 2] });
  const second = inputsOf({ name: 'big', path: 'big', manifest, part: [1, 2] });
  const ranged = {
    ...(second as object),
    files: undefined,
    part: ['big/model.bin', 100, 0, 50, 50],
  } as unknown as Json;
  for (const inputs of [second, ranged]) {
    expect(await run(inputs)).toEqual({ value: { module: 'big', part: [1, 2] } });
  }
  expect(await entryOf('big')).toBeNull();
  await run(first);
  expect(await entryOf('big')).toMatchObject({ version: '1.2.3', files: null, bytes: null });
});

it.each([
  ['no JSON', '{', 'MANIFEST_INVALID'],
  ['a list', '[]', 'MANIFEST_INVALID'],
  ['exports without end', `{"exports":${'{"a":'.repeat(40)}1${'}'.repeat(40)}}`, 'MANIFEST_INVALID'],
  ['a text without end', ' '.repeat(1_000_001), 'MANIFEST_INVALID'],
])('refuses a package.json that is %s', async (_, content, code) => {
  await expect(run(inputsOf({ name: 'lib', path: 'lib', manifest: content }))).rejects.toThrow(failed(code));
  expect(await entryOf('lib')).toBeNull();
});

it('takes what a package.json should not have for absent', async () => {
  const odd =
    '\u{feff}{"version":7,"main":["x"],"bin":{"a":1},"exports":{"./\\ud800":"./x"},"dependencies":{"a":{}},"__proto__":{"main":"x"}}';
  await run(inputsOf({ name: 'odd', path: 'odd', manifest: odd }));
  expect(await entryOf('odd')).toMatchObject({
    ...{ version: null, exports: {}, dependencies: {} },
    entry_points: { main: null, bin: {} },
  });
});

it('fails for good when the package.json changed, and for now when the cache is away', async () => {
  const inputs = inputsOf({ name: 'lib', path: 'lib', manifest });
  write('lib/package.json', manifest.replace('1.2.3', '1.2.4'));
  await expect(run(inputs)).rejects.toThrow(failed('FILE_CHANGED'));
  write('lib/package.json', manifest);
  const away: Cache = {
    get: () => Promise.reject(new CacheUnavailable('away')),
    put: () => Promise.reject(new CacheUnavailable('away')),
  };
  const retried = expect.objectContaining({ verdict: 'retry', code: 'CACHE_UNAVAILABLE' }) as Error;
  await expect(run(inputs, { cache: away })).rejects.toThrow(retried);
  await expect(run(inputsOf({ name: 'a\nb', path: 'odd' }))).rejects.toThrow(failed('MODULE_NAME_INVALID'));
});

it.each<[string, Json]>([
  ['nothing', null],
  ['files without a module', { root: '.', files: [] }],
  [
    'a module without a digest',
    { root: '.', module: { name: 'a', path: 'a', manifest: null, part: [0, 1] }, files: [] },
  ],
  [
    'a part past the last',
    {
      root: '.',
      module: { name: 'a', path: 'a', digest: sha256(''), manifest: null, part: [1, 1] },
      files: [],
    },
  ],
])('refuses inputs with %s', (_, inputs) => {
  expect(() => warmRegistry.parse(inputs)).toThrow(failed('BAD_INPUTS'));
});

it('collects every entry, one line each, in the order of the shards', async () => {
  const shards: CollectedShard[] = [];
  const described = [
    { name: 'a', path: 'a', manifest },
    { name: 'b', path: 'b', manifest, part: [0, 2] },
    { name: 'b', path: 'b', manifest, part: [1, 2] },
    { name: 'c', path: 'c' },
  ] as const;
  for (const [ordinal, module] of described.entries()) {
    const inputs = inputsOf(module);
    const { digest, value } = await run(inputs);
    shards.push({
      ordinal,
      inputs,
      input_digests: [],
      value,
      digest: digest ?? sha256(canonicalJson(value)),
    });
  }
  const collect = () =>
    warmRegistry.collect!(Readable.from(shards) as AsyncIterable<CollectedShard>, context());
  const output = await collect();
  expect(output).toEqual(await collect());
  expect(output.value).toEqual({ modules: 3 });
  const lines = (await text(await artifacts.open(output.artifacts[0]!.digest))).trimEnd().split('\n');
  expect(lines[0]).toBe('{"type":"hxo-registry/v1"}');
  expect(lines.slice(1).map((line) => (JSON.parse(line) as { module: string }).module)).toEqual([
    'a',
    'b',
    'c',
  ]);
});

it('makes a bounded entry, all of whose paths are inside the module, of any package.json', () => {
  const path = fc.oneof(
    fc.string(),
    fc.constantFrom('./a', '../a', './../a', '/etc/passwd', './a/../../b', '.'),
  );
  const target: fc.Arbitrary<Json> = fc.letrec<{ target: Json }>((tie) => ({
    target: fc.oneof(
      path,
      fc.constant(null),
      fc.array(tie('target'), { maxLength: 3 }),
      fc.dictionary(fc.string(), tie('target'), { maxKeys: 3 }),
    ),
  })).target;
  const content = fc.record(
    {
      main: path,
      module: path,
      types: path,
      bin: fc.oneof(path, fc.dictionary(fc.string(), path)),
      exports: target,
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(content, (value) => {
      const inputs = {
        name: 'a',
        path: 'a',
        root: '.',
        digest: sha256(''),
        manifest: null,
        index: 0,
        count: 1,
        files: [],
      };
      const { entry_points, exports } = registryEntry(inputs, JSON.stringify(value));
      const { main, module, types, bin } = entry_points;
      const paths = [main, module, types, ...Object.values(bin), ...Object.values(exports).flat()];
      for (const each of paths) {
        expect(each ?? 'a').not.toMatch(/^\/|^\.{1,2}(\/|$)|\/\.{1,2}(\/|$)/);
      }
      canonicalJson({ ...entry_points, exports });
    }),
  );
});
