import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { BullTransport, BundleWorker } from '#adapters/bullmq';
import type { Bundle, LeaseRef, Transport, TransportSink, WorkerNeeds } from '#hxo/execute';
import { RedisProcess } from '../../apps/cli/src/redis-process.js';

/** Both ends of the BullMQ transport over a real Redis, with a pool that does as the spec says. */

const needs: WorkerNeeds = { executor: 'e', executor_version: '1', reads_files: true };
const folder = mkdtempSync(join(tmpdir(), 'hxo-bullmq-'));
let redis: RedisProcess;
let ends: (() => Promise<void>)[] = [];
let bundle_no = 0;
let log: string[] = [];

beforeAll(async () => {
  redis = await RedisProcess.start(folder);
});
afterEach(async () => {
  await Promise.all(ends.map((end) => end()));
  ends = [];
  log = [];
  const client = new Redis(redis.url);
  await client.flushall();
  client.disconnect();
});
afterAll(async () => {
  await redis.kill();
  rmSync(folder, { recursive: true });
});

class Heard implements TransportSink {
  readonly refusals: (LeaseRef & { readonly reason: string })[] = [];
  readonly finals: number[] = [];
  started(): void {}
  heartbeat(): void {}
  async outcomes({ bundle, final }: LeaseRef & { readonly final: boolean }): Promise<void> {
    if (final) this.finals.push(bundle);
  }
  refused(lease: LeaseRef & { readonly reason: string }): void {
    this.refusals.push(lease);
  }
  lost(): void {}
  changed(): void {}
}

/** Ends each bundle at once, or holds it. */
class Pool {
  sink!: TransportSink;
  holds = false;
  readonly taken: number[] = [];
  private readonly held: LeaseRef[] = [];
  slots = (): number => 1;
  lanes = (): number => 1;
  obstacle = (): null => null;
  readonly durable = false;
  missing = async (): Promise<[]> => [];
  problems = async (): Promise<[]> => [];
  cancel = async (): Promise<void> => {};
  async start(sink: TransportSink): Promise<void> {
    this.sink = sink;
  }
  async stop(): Promise<void> {
    for (const lease of this.held) this.sink.refused({ ...lease, reason: 'the worker is stopping' });
  }
  async dispatch({ plan_id, bundle, attempt }: Bundle): Promise<void> {
    this.taken.push(bundle);
    if (this.holds) {
      this.held.push({ plan_id, bundle, attempt });
      return;
    }
    await this.sink.outcomes({ plan_id, bundle, attempt, worker: 'w', outcomes: '', final: true });
  }
}

interface Side {
  readonly key?: string;
  readonly workspace?: () => string;
}

async function api({
  key,
  workspace = () => 'tree',
  owner = 'api',
}: Side & { owner?: string } = {}): Promise<{
  transport: BullTransport;
  heard: Heard;
}> {
  const transport = new BullTransport({
    ...{ redis_url: redis.url, owner, bundle_key: key ?? null, workspace },
    log: (message) => log.push(message),
  });
  const heard = new Heard();
  await transport.start(heard);
  ends.push(() => transport.stop());
  return { transport, heard };
}

async function worker(
  id: string,
  { key, workspace = () => 'tree', version = '1' }: Side & { version?: string } = {},
): Promise<{ pool: Pool; worker: BundleWorker }> {
  const pool = new Pool();
  const started = new BundleWorker({
    ...{ redis_url: redis.url, bundle_key: key ?? null, workspace },
    card: { id, concurrency: 1, executors: { e: version }, hxo_version: 'x', node_version: 'x' },
    pool: pool satisfies Transport,
    log: (message) => log.push(message),
  });
  await started.start();
  ends.push(() => started.stop(0));
  return { pool, worker: started };
}

function bundle(more: Partial<Bundle> = {}): Bundle {
  return {
    ...{ plan_id: 'p', bundle: ++bundle_no, attempt: 1, stage: 's', isolation: 'thread', concurrency: 1 },
    ...{ ...needs, shard_timeout_ms: 0, work: { type: 'shards', ordinals: [0], lines: '1\t\t{}\n' } },
    ...more,
  };
}

async function until(holds: () => boolean, limit_ms = 10_000): Promise<void> {
  for (const end = performance.now() + limit_ms; !holds(); await sleep(10))
    if (performance.now() > end) throw new Error(`Not in time. ${log.join('; ')}`);
}

it('has a bundle refused, by name, by a worker that has another workspace; the other one runs it', async () => {
  const { transport, heard } = await api();
  const other = await worker('other-1', { workspace: () => 'another tree' });
  await until(() => transport.obstacle(needs)?.includes('workspace') === true);
  expect(transport.obstacle(needs)).toContain('other-1');
  expect(transport.slots(needs)).toBe(0);
  // With a worker that fits beside it, both take from one queue.
  const right = await worker('right-1');
  await until(() => transport.slots(needs) === 1);
  right.pool.holds = true;
  for (let i = 0; i < 8; i++) await transport.dispatch(bundle());
  await until(() => heard.refusals.length > 0);
  expect(heard.refusals[0]!.reason).toMatch(/^other-1 has another workspace/);
  expect(other.pool.taken).toEqual([]);
  expect(right.pool.taken.length).toBeGreaterThan(0);
});

it('asks for no workspace where no files are read', async () => {
  const { transport, heard } = await api();
  await worker('other-1', { workspace: () => 'another tree' });
  const free = { ...needs, reads_files: false };
  await until(() => transport.slots(free) === 1);
  expect(transport.obstacle(free)).toBeNull();
  const sent = bundle(free);
  await transport.dispatch(sent);
  await until(() => heard.finals.includes(sent.bundle));
});

it('hands bundles to no worker of another version or key, and says what they wait for', async () => {
  const { transport, heard } = await api({ key: 'k' });
  const old = await worker('old-1', { key: 'k', version: '0' });
  const strange = await worker('strange-1', { key: 'another key' });
  await until(() => transport.obstacle(needs)?.includes('version 1') === true);
  expect(transport.obstacle(needs)).toBe('a worker with version 1 of executor e (old-1 has 0)');
  expect(transport.obstacle({ ...needs, executor_version: '0' })).toBeNull();
  const sent = bundle();
  await transport.dispatch(sent);
  await sleep(300);
  expect([old.pool.taken, strange.pool.taken, heard.refusals]).toEqual([[], [], []]);
  await worker('right-1', { key: 'k' });
  await until(() => heard.finals.includes(sent.bundle));
});

it('names workers that have another key', async () => {
  const { transport } = await api({ key: 'k' });
  await worker('strange-1', { key: 'another key' });
  await until(() => transport.obstacle(needs)?.includes('HXO_BUNDLE_KEY') === true);
  expect(transport.obstacle(needs)).toContain('strange-1');
  expect(transport.slots(needs)).toBe(0);
});

it('hands nothing to a Redis that hangs or is away, says so at once, and goes on when it is back', async () => {
  const { transport, heard } = await api();
  const { worker: one } = await worker('one-1');
  await until(() => transport.slots(needs) === 1 && one.connected());
  expect(await transport.problems()).toEqual([]);
  process.kill(redis.pid, 'SIGSTOP');
  try {
    await until(() => transport.slots(needs) === 0);
    expect(await transport.problems()).toEqual([expect.stringMatching(/^Redis cannot be used/)]);
    expect(transport.obstacle(needs)).toMatch(/Redis/);
    await expect(transport.dispatch(bundle())).rejects.toThrow(/Redis does not answer/);
    await until(() => !one.connected());
  } finally {
    process.kill(redis.pid, 'SIGCONT');
  }
  await until(() => transport.slots(needs) === 1 && one.connected());
  await redis.kill();
  await until(() => transport.slots(needs) === 0 && !one.connected());
  await redis.launch();
  await until(() => transport.slots(needs) === 1);
  const sent = bundle();
  await transport.dispatch(sent);
  await until(() => heard.finals.includes(sent.bundle));
}, 60_000);

it('is degraded while Redis is out of memory or evicts keys', async () => {
  const { transport } = await api();
  const client = new Redis(redis.url);
  await client.config('SET', 'maxmemory-policy', 'allkeys-lru');
  await until(() => log.length === 0);
  const problem = async (): Promise<string> => (await transport.problems()).join();
  for (let waited = 0; !(await problem()).includes('allkeys-lru') && waited < 100; waited++) await sleep(50);
  expect(await problem()).toContain('maxmemory-policy is allkeys-lru');
  await client.config('SET', 'maxmemory-policy', 'noeviction', 'maxmemory', '1mb');
  for (let waited = 0; !(await problem()).includes('OOM') && waited < 200; waited++) await sleep(50);
  expect(await problem()).toContain('OOM');
  await client.config('SET', 'maxmemory', '0');
  for (let waited = 0; (await problem()) !== '' && waited < 100; waited++) await sleep(50);
  expect(await problem()).toBe('');
  client.disconnect();
});

it('leaves a Redis alone that another HXO uses, and says whose it is', async () => {
  const first = await api({ owner: 'first' });
  await until(() => transportIsFine(first.transport));
  const { pool } = await worker('one-1');
  pool.holds = true;
  await until(() => first.transport.slots(needs) === 1);
  const second = await api({ owner: 'second' });
  await until(() => second.transport.obstacle(needs)?.includes('another HXO (first)') === true);
  expect(second.transport.slots(needs)).toBe(0);
  await expect(second.transport.dispatch(bundle())).rejects.toThrow();
  const sent = bundle();
  await first.transport.dispatch(sent);
  await until(() => pool.taken.includes(sent.bundle));
  await pool.sink.outcomes({
    plan_id: 'p',
    bundle: sent.bundle,
    attempt: 1,
    worker: 'w',
    outcomes: '',
    final: true,
  });
  await until(() => first.heard.finals.includes(sent.bundle));
  expect(second.heard.finals).toEqual([]);
});

it('takes the bundles of a cancelled plan back that no worker has', async () => {
  const { transport } = await api();
  const { pool } = await worker('one-1');
  pool.holds = true;
  await until(() => transport.slots(needs) === 1);
  const sent = Array.from({ length: 6 }, () => bundle({ plan_id: 'doomed' }));
  for (const each of sent) await transport.dispatch(each);
  await until(() => pool.taken.length > 0);
  await transport.cancel('doomed', sent);
  const client = new Redis(redis.url);
  const jobs = (await client.keys('*doomed-*')).filter((key) => !key.endsWith(':lock'));
  // One slot, and one at hand.
  expect(jobs.length).toBeLessThanOrEqual(2);
  expect(await client.ttl('{hxo}:cancelled:doomed')).toBeLessThanOrEqual(60);
  client.disconnect();
});

it('outlives a workspace that cannot be listed', async () => {
  let there = true;
  const workspace = (): string => {
    if (!there) throw new Error('ENOENT: no such directory');
    return 'tree';
  };
  const { transport } = await api({ workspace });
  await worker('one-1', { workspace });
  await until(() => transport.slots(needs) === 1);
  there = false;
  await until(() => transport.obstacle(needs)?.includes('cannot be listed') === true);
  expect(await transport.problems()).toEqual([]);
  there = true;
  await until(() => transport.slots(needs) === 1);
});

function transportIsFine(transport: BullTransport): boolean {
  return !(transport.obstacle(needs) ?? '').startsWith('Redis');
}
