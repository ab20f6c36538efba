import { Redis } from 'ioredis';

/**
 * A connection that outlives Redis: commands wait for as long as it is away, and are sent again when it is back. Errors
 * reach `onError`; ioredis reconnects by itself, at the latest every two seconds.
 *
 * BullMQ gets connections of its own, without automatic pipelines: it defines some sixty commands, and every pipeline of a
 * connection copies them all.
 */
export function connect(
  url: string,
  onError: (error: Error) => void,
  { pipelines = true }: { readonly pipelines?: boolean } = {},
): Redis {
  const redis = new Redis(url, {
    maxRetriesPerRequest: null,
    enableAutoPipelining: pipelines,
    retryStrategy: (attempt) => Math.min(attempt * 100, 2_000),
  });
  redis.on('error', onError);
  return redis;
}
