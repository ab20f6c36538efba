/** The cache that server and workers share: Redis where there is one, else files below HXO_HOME. */
import type { Cache } from '#hxo/execute';
import type { Settings } from '#settings';
import { createFileCache } from '#adapters/files';
import type { RedisCache, RedisCacheOptions } from '#adapters/redis-cache';

/** Where the cache is; plain data, so that a pool can pass it to its members. */
export type CachePlace = { readonly dir: string } | { readonly redis_url: string };

export function cachePlace({ redis, cache_dir }: Settings): CachePlace {
  return redis === null ? { dir: cache_dir } : { redis_url: redis.url };
}

export interface OpenCache extends Cache {
  /** Makes room: removes what has expired. Returns how many values; Redis removes its own. Never rejects. */
  sweep(): Promise<number>;
  close(): void;
}

/**
 * Opens the cache.
 * @param wait_ms how long a call waits for a Redis that is away
 */
export function openCache(place: CachePlace, wait_ms: number): OpenCache {
  if ('redis_url' in place) return { ...redisCache({ ...place, wait_ms }), sweep: async () => 0 };
  return { ...createFileCache(place.dir), close: () => undefined };
}

/** Its client is loaded at the first call: it takes 20 MB and a fifth of a second, and most pool members never call. */
function redisCache(options: RedisCacheOptions): RedisCache {
  let opened: Promise<RedisCache> | undefined;
  const open = (): Promise<RedisCache> =>
    (opened ??= import('#adapters/redis-cache').then(({ createRedisCache }) => createRedisCache(options)));
  return {
    get: async (key) => (await open()).get(key),
    put: async (...value) => (await open()).put(...value),
    close: () => void opened?.then((cache) => cache.close()),
  };
}
