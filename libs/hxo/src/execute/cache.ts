/** Longest key, in UTF-8 bytes. */
export const cache_key_bytes_max = 1_024;
/** Longest value, in bytes. */
export const cache_value_bytes_max = 1_048_576;

/** `<namespace>/<name>`; made by {@link cacheKey} only. */
export type CacheKey = string & { readonly __brand: 'CacheKey' };

/** Thrown when a name cannot be a cache key, or a value is too long for a cache. */
export class CacheLimitError extends Error {
  override readonly name = 'CacheLimitError';
}

/**
 * Thrown when the cache cannot be reached, or takes nothing (a full disk, a full Redis). Its shape is RetryShard's: a
 * shard that does not catch it is retried.
 */
export class CacheUnavailable extends Error {
  override readonly name = 'CacheUnavailable';
  readonly verdict = 'retry';
  readonly code = 'CACHE_UNAVAILABLE';
}

/**
 * The key of a name in a namespace: `registry/@scope/name`.
 *
 * @param namespace lower-case letters, digits and `_`, from a letter, 32 at most
 * @param name Unicode text without control characters. Throws {@link CacheLimitError} for any other, and when the key
 *   comes to more than 1,024 bytes.
 */
export function cacheKey(namespace: string, name: string): CacheKey {
  const key = `${namespace}/${name}`;
  const fits = Buffer.byteLength(key) <= cache_key_bytes_max && key.isWellFormed();
  if (!fits || !/^[a-z][a-z0-9_]{0,31}\/\P{Cc}+$/u.test(key)) {
    throw new CacheLimitError(
      `${JSON.stringify(name.slice(0, 80))} cannot be a key of the cache: names are 1 to ${cache_key_bytes_max - namespace.length - 1} bytes of Unicode text without control characters.`,
    );
  }
  return key as CacheKey;
}

/** Throws {@link CacheLimitError} for a value that no cache takes. */
export function assertCacheable(value: Uint8Array): void {
  if (value.length <= cache_value_bytes_max) return;
  throw new CacheLimitError(
    `A value of ${value.length} bytes is too long for the cache, which takes ${cache_value_bytes_max}.`,
  );
}

/**
 * The registry cache and the content cache: what priming leaves behind for others to read. One cache serves the API and
 * every worker, whichever process put a value.
 *
 * Concurrency: any number of callers; a reader sees a whole value or none; of two puts under one key either may stay.
 * Durability: a value outlives every process of HXO, but may be lost with the machine's power or with Redis. It can always
 * be made again by the plan that put it: nothing that a certificate vouches for lies here alone.
 * Who retries: the adapter waits a bounded time for a cache that is away, then throws {@link CacheUnavailable}; the
 * engine retries the shard, callers of the API try again later.
 */
export interface Cache {
  /** The value, or null when there is none, or it has expired. */
  get(key: CacheKey): Promise<Uint8Array | null>;
  /** Resolves when every reader gets the value. Throws {@link CacheLimitError} past 1 MiB. */
  put(key: CacheKey, value: Uint8Array, options?: CachePutOptions): Promise<void>;
}

export interface CachePutOptions {
  /** The value is gone after so many milliseconds. Left out: never. */
  readonly ttl_ms?: number;
}
