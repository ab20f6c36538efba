import { Redis } from 'ioredis';

/**
 * A connection that outlives Redis: commands wait for as long as it is away, and are sent again when it is back. Errors
 * reach `onError`; ioredis reconnects by itself, at the latest every two seconds.
 */
export function connect(url: string, onError: (error: Error) => void): Redis {
  const redis = new Redis(url, {
    maxRetriesPerRequest: null,
    enableAutoPipelining: true,
    retryStrategy: (attempt) => Math.min(attempt * 100, 2_000),
  });
  redis.on('error', onError);
  return redis;
}
