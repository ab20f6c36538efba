import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheKey, CacheLimitError, CacheUnavailable } from '#hxo/execute';
import { createFileCache } from './index.js';

let dir: string;
let now = 1_000_000;
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), 'hxo-cache-'))));
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const key = cacheKey('registry', '@scope/../name');
const open = () => createFileCache(dir, () => now);
const files = () =>
  readdirSync(dir, { recursive: true, encoding: 'utf8' }).filter((name) =>
    statSync(join(dir, name)).isFile(),
  );
const onlyFile = () => join(dir, files()[0]!);

it('keeps bytes under any name, for other processes too', async () => {
  const value = Buffer.from([0, 10, 13, 255, 10]);
  expect(await open().get(key)).toBeNull();
  await open().put(key, value);
  expect(Buffer.from((await open().get(key))!)).toEqual(value);
  expect(await open().get(cacheKey('registry', 'name'))).toBeNull();
  await open().put(key, new Uint8Array());
  expect(await open().get(key)).toHaveLength(0);
  expect(files()).toHaveLength(1);
});

it('forgets what has expired, and sweeps it with temporary files of dead processes', async () => {
  const cache = open();
  await cache.put(key, Buffer.from('soon gone'), { ttl_ms: 100 });
  await cache.put(cacheKey('content', 'stays'), Buffer.from('stays'));
  now += 99;
  expect(await cache.get(key)).not.toBeNull();
  expect(await cache.sweep()).toBe(0);
  now += 1;
  expect(await cache.get(key)).toBeNull();
  writeFileSync(join(dir, 'tmp/dead'), 'half a val');
  utimesSync(join(dir, 'tmp/dead'), 0, 0);
  now += 2 * 60 * 60 * 1000;
  expect(await cache.sweep()).toBe(2);
  expect(files()).toHaveLength(1);
});

it('takes what is cut short or changed as absent, and mends it with the next put', async () => {
  const cache = open();
  for (const damage of [
    (path: string) => truncateSync(path, 0),
    (path: string) => truncateSync(path, 20),
    (path: string) => truncateSync(path, statSync(path).size - 1),
    (path: string) => writeFileSync(path, readFileSync(path, 'utf8').replace('value', 'vaLue')),
    (path: string) => writeFileSync(path, readFileSync(path, 'utf8').replace('/name', '/nAme')),
  ]) {
    await cache.put(key, Buffer.from('a value'));
    damage(onlyFile());
    expect(await cache.get(key)).toBeNull();
  }
  await cache.put(key, Buffer.from('a value'));
  expect(String(await cache.get(key))).not.toBe('null');
});

it('refuses what is too long, and says when it cannot be used', async () => {
  await expect(open().put(key, new Uint8Array(1_048_577))).rejects.toThrow(CacheLimitError);
  const blocked = createFileCache(join(dir, 'a-file'));
  writeFileSync(join(dir, 'a-file'), '');
  await expect(blocked.put(key, new Uint8Array(1))).rejects.toThrow(CacheUnavailable);
  await expect(blocked.get(key)).rejects.toMatchObject({ verdict: 'retry', code: 'CACHE_UNAVAILABLE' });
});
