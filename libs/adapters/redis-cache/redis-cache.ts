import { Redis } from 'ioredis';
import {
  assertCacheable,
  CacheUnavailable,
  type Cache,
  type CacheKey,
  type CachePutOptions,
} from '#hxo/execute';

/**
 * Before every key. The hash tag is that of the bundles, so that a Redis Cluster serves both from the node that HXO is
 * connected to.
 */
export const cache_prefix = '{hxo}:cache:';

/** Commands that wait for an answer at once: bounds the memory that an absent Redis can cost. */
const pending_max = 1_000;

export interface RedisCacheOptions {
  readonly redis_url: string;
  /** How long a call waits for a Redis that is away before it throws CacheUnavailable. */
  readonly wait_ms: number;
}

export interface RedisCache extends Cache {
  /** Ends the connection; calls that wait throw. */
  close(): void;
}

/**
 * The cache in Redis, one key for each value. Connects at the first call, because most members of a pool never make one,
 * and again by itself whenever the connection is lost. Puts may be sent twice: they are the same twice.
 */
export function createRedisCache({ redis_url, wait_ms }: RedisCacheOptions): RedisCache {
  const redis = new Redis(redis_url, {
    lazyConnect: true,
    maxRetriesPerRequest: null,
    disconnectTimeout: 100,
    retryStrategy: (attempt) => Math.min(attempt * 100, 2_000),
  });
  let trouble = 'it has not been reached yet';
  // Told by the call that suffers from it. The message of ioredis names host and port, never the password.
  redis.on('error', (error: Error) => (trouble = error.message));
  redis.on('ready', () => (trouble = 'it is connected but does not answer'));
  let pending = 0;

  async function ask<T>(command: () => Promise<T>): Promise<T> {
    if (pending >= pending_max) throw away(`${pending} calls wait for it already`);
    pending++;
    const answer = command().finally(() => pending--);
    // It may still come when nobody waits any more.
    answer.catch(() => undefined);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${wait_ms} ms (${trouble})`)), wait_ms);
    });
    try {
      return await Promise.race([answer, late]);
    } catch (error) {
      throw away((error as Error).message, error);
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    get: (key: CacheKey) => ask(() => redis.getBuffer(cache_prefix + key)),
    put: async (key: CacheKey, value: Uint8Array, { ttl_ms }: CachePutOptions = {}) => {
      assertCacheable(value);
      const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      const name = cache_prefix + key;
      await ask(() =>
        ttl_ms === undefined ? redis.set(name, bytes) : redis.set(name, bytes, 'PX', Math.ceil(ttl_ms)),
      );
    },
    close: () => redis.disconnect(),
  };
}

function away(why: string, cause?: unknown): CacheUnavailable {
  return new CacheUnavailable(
    `The cache in Redis (HXO_REDIS_URL) cannot be used: ${why}. See that Redis runs, and has memory left.`,
    { cause },
  );
}
