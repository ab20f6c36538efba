import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import Database from 'better-sqlite3';
import { Redis } from 'ioredis';
import { createWorkspace } from '#adapters/files';
import { createTargets } from '#adapters/sql';
import { executors } from '#executors';
import { makeSegments, parseFields, partitioners, splitConfig, type Bundle, type Json, type Outcome } from '#hxo'; // prettier-ignore
import { sha256 } from '#truth';
import { RedisProcess } from '../../apps/cli/src/redis-process.js';
import type { PoolMemberOptions } from '../../apps/worker/src/pool-member.js';
import { sample_images } from '../fixtures/sample-images.js';
import { filesBelow, Place } from './support/place.js';
import { PoolProgram, programs } from './support/pool-program.js';
import { seededRandom } from './support/seeded.js';

/**
 * Every executor run twice on one shard, and killed in the middle of it and run again: one digest, and the effect of one
 * run. Its shard is what the partitioner makes of real files and databases; it runs in a pool of its own program, and the
 * whole program is killed.
 */

const seed = Number(process.env.HXO_TEST_SEED ?? Date.now() % 1_000_000);
const random = seededRandom(seed);
const rows = 400_000;

interface Case {
  readonly name: string;
  readonly kind: string;
  readonly partitioner: string;
  readonly executor: string;
  readonly config: () => Record<string, Json>;
  readonly redis?: true;
  /** Lays out what the shard works on. */
  readonly setUp: (place: Place) => void;
  /** Called before the shard runs: tells how to see that so much of its work, from 0 to 1, is done. */
  readonly midway: (place: Place, part: number) => (pid: number) => boolean;
}

/** Bytes that no compressor makes smaller, the same at every call. */
function noise(bytes: number, from: number): Buffer {
  const number = seededRandom(from);
  return Buffer.from(Uint32Array.from({ length: bytes / 4 }, () => number() * 2 ** 32).buffer);
}

const megabyte = 1_000_000;
const one_shard = { chunk_size_mb: 1_000 };
const block = noise(megabyte, 1);
const words = Array.from({ length: 5_000 }, (_, i) => sha256(String(i)).slice(0, 3 + (i % 8)));

/** A program has read so much of the files since it was first looked at. */
const hasRead = (bytes: number) => (_: Place, part: number) => {
  let before: number | undefined;
  return (pid: number) => {
    const read = Number(/^rchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))![1]);
    before ??= read;
    return read - before >= bytes * part;
  };
};

/** SQLite keeps the pages of an open transaction as they were in a journal beside the file. */
const hasJournal = (place: Place, part: number) => () =>
  place.bytesOf(`${place.target}-journal`) >= place.bytesOf(place.target) * part;

function makeCounter({ target }: Place): void {
  const db = new Database(target);
  db.exec(`CREATE TABLE counter (id integer PRIMARY KEY, n integer NOT NULL);
    WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < ${rows}) INSERT INTO counter SELECT i, 0 FROM g`);
  db.close();
}

const redis_dir = mkdtempSync(join(tmpdir(), 'hxo-twice-redis-'));
let redis_server: RedisProcess;
let redis: Redis;
let site: Server;
let origin: string;
let asked: string[] = [];
/** From so many requests on, the site lets clients wait. */
let answers_max = Infinity;
const unanswered: ServerResponse[] = [];
const pages = 60;

const cases: readonly Case[] = [
  {
    ...{ name: 'pack_backend', executor: 'pack_backend', kind: 'deploy.pack', partitioner: 'by_filesize' },
    config: () => one_shard,
    setUp: (place) => {
      for (let i = 0; i < 12; i++) place.write(`src/${i}.bin`, noise(megabyte, i));
    },
    midway: (place, part) => () => place.bytesOf(join(place.artifacts, 'tmp')) >= 12 * megabyte * part,
  },
  {
    ...{ name: 'index_assets', executor: 'index_assets', kind: 'assets.index', partitioner: 'by_filesize' },
    config: () => one_shard,
    setUp: (place) => {
      for (const [i, { extension, base64 }] of sample_images.entries()) {
        const head = Buffer.from(base64, 'base64');
        place.write(`${i}.${extension}`, Buffer.concat([head, ...new Array<Buffer>(10).fill(block)]));
      }
    },
    midway: (place, part) => hasRead(place.bytesOf(place.workspace))(place, part),
  },
  {
    ...{ name: 'docs_index', executor: 'docs_index', kind: 'docs.index', partitioner: 'by_route_map' },
    config: () => ({ root: 'docs' }),
    setUp: (place) => {
      const word = seededRandom(1);
      const text = (length: number): string =>
        Array.from({ length }, () => words[Math.floor(word() * words.length)]).join(' ');
      for (let i = 0; i < 40; i++)
        place.write(`docs/page-${i}.md`, `# ${text(3)}\n\n${text(20_000)}\n\n- ${text(500)}\n`);
    },
    midway: (place, part) => hasRead(place.bytesOf(place.workspace))(place, part),
  },
  {
    ...{ name: 'sql_migrate with a file', executor: 'sql_migrate', kind: 'deploy.migrate' },
    partitioner: 'by_sql_batch',
    config: () => ({}),
    setUp: (place) => {
      makeCounter(place);
      const sql =
        'CREATE TABLE made (a int); UPDATE counter SET n = n + 1; INSERT INTO made SELECT max(n) FROM counter;';
      place.write('migrations/0001_count.sql', sql);
    },
    midway: hasJournal,
  },
  {
    ...{ name: 'sql_migrate with a batch', executor: 'sql_migrate', kind: 'deploy.migrate' },
    partitioner: 'by_sql_batch',
    config: () => ({
      table: 'counter',
      batch_size: rows,
      statement: 'UPDATE counter SET n = n + 1 WHERE {range}',
    }),
    setUp: makeCounter,
    midway: hasJournal,
  },
  {
    ...{ name: 'warm_registry', executor: 'warm_registry', kind: 'deploy.prime', partitioner: 'by_module' },
    config: () => ({}),
    redis: true,
    setUp: (place) => {
      place.write('package.json', JSON.stringify({ name: 'root', workspaces: ['packages/*'] }));
      place.write('packages/one/package.json', JSON.stringify({ name: '@site/one', version: '1.2.3' }));
    },
    // The entry is kept as an artifact, and waits to be put into the cache.
    midway: ({ artifacts }) => {
      void redis.client('PAUSE', 60_000, 'WRITE');
      return () => existsSync(artifacts) && readdirSync(artifacts).some((name) => name !== 'tmp');
    },
  },
  {
    ...{ name: 'prime_caches with contents', executor: 'prime_caches', kind: 'deploy.prime' },
    partitioner: 'by_module',
    config: () => one_shard,
    setUp: (place) => {
      for (let i = 0; i < 100; i++)
        place.write(
          `source/${i}.js`,
          Buffer.concat([Buffer.from(`// ${i}\n`), block.subarray(megabyte / 2)]),
        );
    },
    midway: (place, part) => () => place.bytesOf(place.cache) >= 50 * megabyte * part,
  },
  {
    ...{ name: 'prime_caches with pages', executor: 'prime_caches', kind: 'deploy.prime' },
    partitioner: 'by_route_map',
    config: () => ({ base_url: origin, urls: Array.from({ length: pages }, (_, i) => `/page/${i}`) }),
    setUp: () => undefined,
    midway: (_, part) => {
      answers_max = Math.floor(pages * part);
      return () => unanswered.length > 0;
    },
  },
];

beforeAll(async () => {
  process.stdout.write(`executors twice: HXO_TEST_SEED=${seed}\n`);
  redis_server = await RedisProcess.start(redis_dir);
  redis = new Redis(redis_server.url);
  site = createServer(({ url }, response) => {
    asked.push(url!);
    if (asked.length > answers_max) unanswered.push(response);
    else response.end(`page ${url}`);
  }).listen(0, '127.0.0.1');
  await once(site, 'listening');
  origin = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
}, 60_000);

afterAll(async () => {
  redis?.disconnect();
  await redis_server?.kill();
  rmSync(redis_dir, { recursive: true });
  site?.close();
  site?.closeAllConnections();
});

function memberOptions({ redis: in_redis }: Case, place: Place): PoolMemberOptions {
  const { hostname, port } = new URL(origin);
  return {
    artifacts_dir: place.artifacts,
    workspace: { root: place.workspace, forbidden: [] },
    targets: { addresses: { default: { dialect: 'sqlite', path: place.target } }, forbidden: [] },
    extra_executors: [],
    cache: in_redis ? { redis_url: redis_server.url } : { dir: place.cache },
    allowed_hosts: [{ host: hostname, prefix_bits: null, port: Number(port) }],
  };
}

/** The last shard that the engine would make of the place: behind a preflight, where there is one. */
async function bundleOf(each: Case, place: Place): Promise<Bundle> {
  const executor = executors.find(({ name }) => name === each.executor)!;
  const partitioner = partitioners.get(each.partitioner)!;
  const { workspace, targets } = memberOptions(each, place);
  const context = { workspace: createWorkspace(workspace), targets: createTargets(targets!) };
  const { own, rest } = splitConfig(each.config(), executor.options);
  const content = { kind: each.kind, executor: executor.name, executor_version: executor.version, dependency_digests: [] }; // prettier-ignore
  const options = executor.options === undefined ? null : parseFields(executor.name, executor.options, own);
  let lines = '';
  for await (const segment of makeSegments(partitioner, partitioner.parse(rest), content, context, options))
    lines += segment.lines;
  await context.targets.open('default').close();
  const all = lines.trimEnd().split('\n');
  expect(all).toHaveLength(each.executor === 'sql_migrate' ? 2 : 1);
  return {
    ...{ plan_id: 'plan', bundle: 1, attempt: 1, stage: 's', executor: executor.name },
    ...{
      executor_version: executor.version,
      isolation: executor.isolation,
      concurrency: 1,
      reads_files: true,
    },
    ...{ shard_timeout_ms: 0, work: { type: 'shards', ordinals: [0], lines: `${all.at(-1)}\n` } },
  };
}

/** What a result commits to, and what was only seen on the way. */
function readOutcome(outcome: Outcome): { readonly output: unknown; readonly seen: Json | undefined } {
  if (outcome.status === 'failed') throw new Error(`${outcome.code}: ${outcome.message}`);
  const { observed, ...value } = JSON.parse(outcome.value) as { readonly observed?: Json };
  return { output: { digest: outcome.digest, value }, seen: observed };
}

/** All that runs of a shard have left, but for what was seen on the way. */
async function effectOf(place: Place, outcomes: readonly Outcome[]): Promise<object> {
  const seen = JSON.stringify(outcomes.map((outcome) => readOutcome(outcome).seen ?? null));
  const blobs = filesBelow(place.artifacts)
    .map((path) => path.slice(place.artifacts.length))
    .filter((path) => !path.startsWith('/tmp/') && !seen.includes(path.replaceAll('/', '')));
  return {
    artifacts: blobs.map((path) => [path.replaceAll('/', ''), sha256(readFileSync(place.artifacts + path))]),
    cache_files: filesBelow(place.cache)
      .filter((path) => dirname(path) !== join(place.cache, 'tmp'))
      .map((path) => [path.slice(place.cache.length), valueOf(readFileSync(path))]),
    cache_keys: await Promise.all((await redis.keys('*')).map(async (key) => [key, await redis.get(key)])),
    database: databaseOf(place),
    pages: [...new Set(asked)].sort(),
  };
}

/** A cached value's digest, without its header, which tells when it was put. */
function valueOf(file: Buffer): string {
  return sha256(file.subarray(file.indexOf(10) + 1));
}

/** Read from a copy: whoever opens a database that was left open rolls it back. */
function databaseOf({ dir, target }: Place): object | null {
  if (!existsSync(target)) return null;
  const copy = join(dir, 'copy.db');
  for (const end of ['', '-journal']) {
    rmSync(copy + end, { force: true });
    if (existsSync(target + end)) cpSync(target + end, copy + end);
  }
  const db = new Database(copy);
  try {
    const tables = db
      .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
      .pluck()
      .all() as string[];
    const of = (table: string, sql: string): unknown =>
      tables.includes(table) ? db.prepare(sql).all() : null;
    return {
      tables,
      counter: of('counter', 'SELECT n, count(*) AS rows FROM counter GROUP BY n'),
      made: of('made', 'SELECT * FROM made'),
      ledger: of(
        'hxo_ledger',
        'SELECT operation, item, detail, state, rows_changed FROM hxo_ledger ORDER BY 1, 2',
      ),
    };
  } finally {
    db.close();
  }
}

const databaseBytes = ({ target }: Place): string => (existsSync(target) ? sha256(readFileSync(target)) : '');

/** Runs work in a place of its own, which goes with it. */
async function inPlace(each: Case, work: (place: Place, bundle: Bundle) => Promise<void>): Promise<void> {
  const place = new Place();
  try {
    mkdirSync(place.workspace);
    await redis.flushall();
    asked = [];
    if (each.executor === 'sql_migrate') writeFileSync(place.target, '');
    each.setUp(place);
    await work(place, await bundleOf(each, place));
  } finally {
    // Those of a test that failed.
    for (const program of programs) await program.kill();
    rmSync(place.dir, { recursive: true });
  }
}

it('no executor is left out', () => {
  const tried = new Set(cases.map(({ executor }) => executor));
  expect([...tried].sort()).toEqual(executors.map(({ name }) => name).sort());
});

it.each(cases)('$name', async (each) => {
  let output: unknown;
  let effect: object = {};
  await inPlace(each, async (place, bundle) => {
    const program = new PoolProgram(memberOptions(each, place));
    const { outcomes } = program;
    await program.run(bundle);
    ({ output } = readOutcome(outcomes[0]!));
    effect = await effectOf(place, outcomes);
    const bytes = databaseBytes(place);
    await program.run({ ...bundle, bundle: 2, attempt: 2 });
    await program.kill();
    expect(readOutcome(outcomes[1]!).output).toEqual(output);
    expect(await effectOf(place, outcomes)).toEqual(effect);
    expect(databaseBytes(place)).toBe(bytes);
  });

  const part = 0.1 + 0.6 * random();
  await inPlace(each, async (place, bundle) => {
    const killed = new PoolProgram(memberOptions(each, place));
    const isMidway = each.midway(place, part);
    await killed.run(bundle, () => isMidway(killed.pid));
    await killed.kill();
    expect({ ended: killed.ended, outcomes: killed.outcomes }).toEqual({ ended: false, outcomes: [] });
    await resume();
    expect(await effectOf(place, [])).not.toEqual(effect);

    const again = new PoolProgram(memberOptions(each, place));
    await again.run({ ...bundle, bundle: 2, attempt: 2 });
    await again.kill();
    expect(readOutcome(again.outcomes[0]!).output).toEqual(output);
    expect(await effectOf(place, again.outcomes)).toEqual(effect);
  });
});

/** Lets the cache and the site answer again. */
async function resume(): Promise<void> {
  await redis.client('UNPAUSE');
  answers_max = Infinity;
  unanswered.splice(0);
}
