import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { cacheKey, CacheLimitError, CacheUnavailable } from '#hxo/execute';
import { RedisProcess } from '../../apps/cli/src/redis-process.js';
import { createRedisCache, type RedisCache } from '#adapters/redis-cache';

const folder = mkdtempSync(join(tmpdir(), 'hxo-redis-cache-'));
let server: RedisProcess;
const caches: RedisCache[] = [];
beforeAll(async () => void (server = await RedisProcess.start(folder)));
afterAll(async () => {
  for (const cache of caches) cache.close();
  await server.kill();
  rmSync(folder, { recursive: true, force: true });
});

function open(wait_ms = 5_000, redis_url = server.url): RedisCache {
  const cache = createRedisCache({ redis_url, wait_ms });
  caches.push(cache);
  return cache;
}

const key = cacheKey('registry', '@scope/größe');

it('keeps bytes under one prefix, for every process', async () => {
  const value = Buffer.from([0, 10, 255, 128]);
  expect(await open().get(key)).toBeNull();
  await open().put(key, value);
  expect(await open().get(key)).toEqual(value);
  const redis = new Redis(server.url);
  expect(await redis.keys('*')).toEqual(['{hxo}:cache:registry/@scope/größe']);
  expect(await redis.pttl('{hxo}:cache:registry/@scope/größe')).toBe(-1);
  redis.disconnect();
  await expect(open().put(key, new Uint8Array(1_048_577))).rejects.toThrow(CacheLimitError);
});

it('forgets what has expired', async () => {
  const cache = open();
  await cache.put(cacheKey('content', 'x'), Buffer.from('soon gone'), { ttl_ms: 50 });
  await sleep(80);
  expect(await cache.get(cacheKey('content', 'x'))).toBeNull();
});

it('waits for a Redis that restarts', async () => {
  const cache = open();
  await cache.put(key, Buffer.from('before'));
  await server.kill();
  const put = cache.put(key, Buffer.from('while it was away'));
  await sleep(100);
  await server.launch();
  await put;
  expect(String(await cache.get(key))).toBe('while it was away');
});

it('says so when Redis stays away, is full, or does not answer, and never says the password', async () => {
  const silent = createServer((socket) => socket.resume()).listen(0, '127.0.0.1');
  await sleep(10);
  const { port } = silent.address() as AddressInfo;
  const urls = [`redis://:geheim@127.0.0.1:${port}`, 'redis://:geheim@127.0.0.1:1'];
  for (const url of urls) {
    const error: unknown = await open(200, url)
      .get(key)
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CacheUnavailable);
    expect(String((error as Error).message)).toMatch(/HXO_REDIS_URL.*within 200 ms/);
    expect(String((error as Error).message)).not.toContain('geheim');
  }
  silent.close();
  const redis = new Redis(server.url);
  await redis.config('SET', 'maxmemory', '1');
  await expect(open().put(key, Buffer.from('x'))).rejects.toThrow(/OOM/);
  await redis.config('SET', 'maxmemory', '0');
  redis.disconnect();
});

it('lets no more than a thousand calls wait', async () => {
  const cache = open(300, 'redis://127.0.0.1:1');
  const calls = Array.from({ length: 1_001 }, () => cache.get(key).catch((error: Error) => error.message));
  expect(await calls.at(-1)).toContain('1000 calls wait');
  expect(await calls[0]).toContain('within 300 ms');
  cache.close();
});
