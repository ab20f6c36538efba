import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import {
  createArtifactStore,
  createFileCache,
  createWorkspace,
  type FileArtifactStore,
} from '#adapters/files';
import { createHttpClient } from '#adapters/http';
import {
  cacheKey,
  CacheUnavailable,
  ConfigError,
  parseFields,
  sha256,
  type Cache,
  type CollectedShard,
  type Digest,
  type ExecutorContext,
  type Json,
  type RawConfig,
  type ShardOutput,
} from '#hxo/execute';
import { eachAtOnce } from './at-once.js';
import { options as fields } from './options.js';
import { primeCaches } from './prime-caches.js';

let base: string;
let artifacts: FileArtifactStore;
let cache: Cache;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'hxo-prime-'));
  mkdirSync(join(base, 'source'));
  artifacts = createArtifactStore(join(base, 'artifacts'));
  cache = createFileCache(join(base, 'cache'));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

function context(change: Partial<ExecutorContext> = {}): ExecutorContext {
  return {
    artifacts,
    cache,
    workspace: createWorkspace({ root: join(base, 'source'), forbidden: [] }),
    http: createHttpClient({ allowed: [{ host: '127.0.0.1', prefix_bits: null, port: null }] }),
    signal: new AbortController().signal,
    log: () => undefined,
    ...change,
  };
}

const optionsOf = (own: RawConfig = {}) => parseFields('prime_caches', fields, own) as unknown as Json;
const failed = (code: string) => expect.objectContaining({ verdict: 'fail', code }) as Error;
const retried = (code: string) => expect.objectContaining({ verdict: 'retry', code }) as Error;

interface Draft {
  readonly inputs: Json;
  readonly input_digests: readonly Digest[];
}

async function run(
  { inputs, input_digests }: Draft,
  change?: Partial<ExecutorContext>,
): Promise<ShardOutput> {
  const parsed = primeCaches.parse(inputs);
  return primeCaches.run({ ordinal: 0, inputs: parsed, input_digests, attempt: 1 }, context(change));
}

async function linesOf(digest: Digest): Promise<Json[]> {
  const content = await text(await artifacts.open(digest));
  return content.trimEnd().split('\n').map((line) => JSON.parse(line) as Json); // prettier-ignore
}

async function collect(
  shards: readonly (Draft & { output: ShardOutput })[],
): ReturnType<NonNullable<typeof primeCaches.collect>> {
  const collected = shards.map(({ inputs, input_digests, output }, ordinal): CollectedShard => {
    return { ordinal, inputs, input_digests, digest: output.digest!, value: output.value };
  });
  return primeCaches.collect!(Readable.from(collected) as AsyncIterable<CollectedShard>, context());
}

describe('the content cache', () => {
  /** Inputs as by_dag_depth makes them, of files that are written to the workspace. */
  function draftOf(files: Readonly<Record<string, string>>, own?: RawConfig): Draft {
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(base, 'source', path)), { recursive: true });
      writeFileSync(join(base, 'source', path), content);
    }
    const rows = Object.entries(files).map(([path, content]) => [path, Buffer.byteLength(content), 0]);
    return {
      inputs: { root: '.', depth: 1, modules: [], files: rows, options: optionsOf(own) },
      input_digests: Object.values(files).map((content) => sha256(content)),
    };
  }

  it('gets the content of every file that is short enough, under its digest', async () => {
    const long = 'x'.repeat(1_048_577);
    const draft = draftOf({ 'a.ts': 'alpha', 'b/c.ts': '', 'long.bin': long });
    const output = await run(draft);
    expect(String(await cache.get(cacheKey('content', sha256('alpha'))))).toBe('alpha');
    expect(await cache.get(cacheKey('content', sha256('')))).toHaveLength(0);
    expect(await cache.get(cacheKey('content', sha256(long)))).toBeNull();
    expect(output.value).toEqual({ mode: 'content', files: 3, primed: 2, left_out: 1, bytes: 5 });
    expect(await linesOf(output.digest!)).toEqual([
      { path: 'a.ts', bytes: 5, primed: true, sha256: sha256('alpha') },
      { path: 'b/c.ts', bytes: 0, primed: true, sha256: sha256('') },
      { path: 'long.bin', bytes: 1_048_577, primed: false, sha256: sha256(long) },
    ]);
    expect(await run(draft)).toEqual(output);
    const stage = await collect([{ ...draft, output }]);
    expect(stage.value).toEqual({ files: 2, urls: 0, left_out: 1 });
    expect((await linesOf(stage.artifacts[0]!.digest)).slice(1)).toEqual(await linesOf(output.digest!));
  });

  it('keeps contents for as long as the stage says', async () => {
    const ttls: (number | undefined)[] = [];
    const spying: Cache = {
      get: async () => null,
      put: async (_, __, { ttl_ms } = {}) => void ttls.push(ttl_ms),
    };
    await run(draftOf({ a: '1' }), { cache: spying });
    await run(draftOf({ a: '1' }, { content_ttl_ms: 5_000 }), { cache: spying });
    expect(ttls).toEqual([7 * 86_400_000, 5_000]);
  });

  it('leaves ranges of cut files out', async () => {
    const inputs = { root: '.', module: {}, part: ['big.bin', 100, 0, 50, 50], options: optionsOf() };
    const output = await run({ inputs, input_digests: [sha256('range')] });
    expect(output.value).toMatchObject({ files: 1, primed: 0, left_out: 1 });
  });

  it('fails for good when a file changed, and for now when the cache is away', async () => {
    const draft = draftOf({ 'a.ts': 'alpha', 'b.ts': 'beta' });
    writeFileSync(join(base, 'source/b.ts'), 'BETA');
    await expect(run(draft)).rejects.toThrow(failed('FILE_CHANGED'));
    expect(await cache.get(cacheKey('content', sha256('beta')))).toBeNull();
    const away: Cache = { get: async () => null, put: () => Promise.reject(new CacheUnavailable('away')) };
    await expect(run(draftOf({ a: '1' }), { cache: away })).rejects.toThrow(retried('CACHE_UNAVAILABLE'));
    await expect(run({ ...draft, input_digests: [] })).rejects.toThrow(failed('BAD_INPUTS'));
  });
});

describe('pages', () => {
  let server: Server;
  let origin: string;
  let asked: string[];
  let broken: Set<string>;
  beforeEach(async () => {
    asked = [];
    broken = new Set();
    server = createServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      if (request.url === '/site/moved') response.writeHead(301, { location: '/site/guide' }).end();
      else if (request.url === '/site/out')
        response.writeHead(302, { location: 'http://169.254.169.254/' }).end();
      else response.writeHead(broken.has(request.url!) ? 500 : 200, { etag: '"v1"' }).end('page');
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(() => {
    server.close();
    server.closeAllConnections();
  });

  /** Inputs as by_route_map makes them. */
  const draftOf = (routes: readonly string[], own: RawConfig = {}): Draft => ({
    inputs: {
      ...{ root: 'docs', prefix: '/', pages: routes.map((route) => [route, null, 0]) },
      options: optionsOf({ base_url: `${origin}/site`, ...own }),
    },
    input_digests: [],
  });

  it('are asked for under the base URL, and observed outside the digest', async () => {
    const draft = draftOf(['/', '/guide', '/find?q=1', '/moved']);
    const output = await run(draft);
    expect(asked.sort()).toEqual([
      'GET /site/',
      'GET /site/find?q=1',
      'GET /site/guide',
      'GET /site/guide',
      'GET /site/moved',
    ]);
    expect(output.value).toMatchObject({
      mode: 'urls',
      delivery: 'at_least_once',
      method: 'GET',
      urls: 4,
      primed: 4,
    });
    const primed = ['/', '/guide', '/find?q=1', '/moved'].map((route) => ({
      ...{ method: 'GET', primed: true, url: `${origin}/site${route}` },
    }));
    expect(await linesOf(output.digest!)).toEqual(primed);
    const { observed } = output.value as unknown as {
      observed: { observations: Digest; body_bytes: number };
    };
    expect(observed.body_bytes).toBe(16);
    const observations = await linesOf(observed.observations);
    expect(observations).toMatchObject(
      [0, 0, 0, 1].map((redirects) => ({ status: 200, etag: '"v1"', body_bytes: 4, redirects })),
    );
    // Another run sees other latencies, and commits to the same.
    expect((await run(draft)).digest).toBe(output.digest);
    const stage = await collect([{ ...draft, output }]);
    expect(stage.value).toEqual({ files: 0, urls: 4, left_out: 0 });
    expect(await linesOf(stage.artifacts[0]!.digest)).toEqual([{ type: 'hxo-primed/v1' }, ...primed]);
  });

  it('may be asked for by HEAD', async () => {
    const { value } = await run(draftOf(['/guide'], { method: 'HEAD' }));
    expect([asked, value]).toMatchObject([['HEAD /site/guide'], { method: 'HEAD', primed: 1 }]);
  });

  it('that do not answer as expected fail the shard for now, and are named', async () => {
    for (const i of [1, 2, 3, 4, 5, 6, 7]) broken.add(`/site/p${i}`);
    const routes = Array.from({ length: 9 }, (_, i) => `/p${i}`);
    const failure = run(draftOf(routes, { concurrency: 1 }));
    await expect(failure).rejects.toThrow(retried('URLS_NOT_PRIMED'));
    await expect(failure).rejects.toThrow(/^7 of 9 routes .*\/p1 \(status 500\).*\/p5 .* and 2 more\.$/);
    expect(asked).toHaveLength(9);
    expect((await run(draftOf(routes, { expect: [200, '500-599'] }))).value).toMatchObject({ primed: 9 });
    await expect(run(draftOf(['/a'], { expect: [204] }))).rejects.toThrow(retried('URLS_NOT_PRIMED'));
  });

  it('whose server is away fail the shard for now', async () => {
    const draft = draftOf(['/a']);
    server.close();
    server.closeAllConnections();
    await expect(run(draft)).rejects.toThrow(retried('URLS_NOT_PRIMED'));
  });

  it.each([
    ['a host that is not listed', [], { base_url: 'http://internal.example.com' }, 'HOST_NOT_ALLOWED'],
    ['a route that leaves the base', ['/../admin'], {}, 'ROUTE_NOT_ALLOWED'],
    ['a redirect inwards', ['/out'], {}, 'HOST_NOT_ALLOWED'],
  ])('fail the shard for good with %s', async (_, routes, own, code) => {
    await expect(run(draftOf(['/ok', ...routes], { concurrency: 1, ...own }))).rejects.toThrow(failed(code));
    expect(asked.every((each) => each === 'GET /site/ok' || each === 'GET /site/out')).toBe(true);
  });

  it('need a base URL', async () => {
    const { inputs } = draftOf(['/']);
    const without = { ...(inputs as object), options: optionsOf() } as Json;
    await expect(run({ inputs: without, input_digests: [] })).rejects.toThrow(/config\.base_url/);
    const options = parseFields('prime_caches', fields, {}) as unknown as Readonly<Record<string, Json>>;
    expect(() => primeCaches.checkOptions!(options, { urls: ['/'] })).toThrow(ConfigError);
    expect(() => primeCaches.checkOptions!(options, { max_depth: 3 })).not.toThrow();
  });
});

describe('options', () => {
  it.each<[string, Json, Json]>([
    ['base_url', 'HTTPS://Example.COM:443/', 'https://example.com'],
    ['base_url', 'http://127.1:3000/docs//', 'http://127.0.0.1:3000/docs'],
    ['expect', [200, '300-399'], [200, '300-399']],
  ])('%s takes %j', (name, given, taken) => {
    expect(optionsOf({ [name]: given })).toMatchObject({ [name]: taken });
  });

  it.each<[string, Json]>([
    ['base_url', 'example.com'],
    ['base_url', 'ftp://example.com'],
    ['base_url', 'https://user@example.com'],
    ['base_url', 'https://:pw@example.com'],
    ['base_url', 'https://example.com?'],
    ['base_url', 'https://example.com#x'],
    ['base_url', `https://example.com/${'x'.repeat(2_048)}`],
    ['base_url', 7],
    ['method', 'POST'],
    ['timeout_ms', 0],
    ['concurrency', 257],
    ['expect', []],
    ['expect', 200],
    ['expect', [99]],
    ['expect', ['399-200']],
    ['expect', ['200-']],
    ['content_ttl_ms', 999],
  ])('%s refuses %j, naming itself', (name, given) => {
    expect(() => optionsOf({ [name]: given })).toThrow(new RegExp(`^${name} must be`));
  });
});

it('begins nothing more after an error, and waits for what is under way', async () => {
  const begun: number[] = [];
  const ended: number[] = [];
  const work = eachAtOnce([0, 1, 2, 3, 4, 5], 2, async (item) => {
    begun.push(item);
    await new Promise((resolve) => setTimeout(resolve, item === 1 ? 5 : 20));
    if (item === 1) throw new Error('broken');
    ended.push(item);
  });
  await expect(work).rejects.toThrow('broken');
  expect([begun, ended]).toEqual([[0, 1], [0]]);
});
