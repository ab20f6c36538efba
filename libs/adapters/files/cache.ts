import { randomUUID } from 'node:crypto';
import { mkdir, open, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  assertCacheable,
  CacheUnavailable,
  sha256,
  type Cache,
  type CacheKey,
  type CachePutOptions,
} from '#hxo/execute';

/** A temporary file that nobody wrote to for so long belongs to a process that died. */
const stale_ms = 60 * 60 * 1000;

/** A header, with a key of 1,024 bytes written in escapes, is shorter. */
const header_bytes_max = 8_192;

/** The first line of a value's file. */
interface Header {
  readonly key: string;
  /** Wall clock in milliseconds; null is never. */
  readonly expires_at: number | null;
  /** SHA-256 of the value, because power may go before the bytes are on the disk. */
  readonly sha256: string;
}

export interface FileCache extends Cache {
  /** Removes values that have expired, and temporary files of processes that died. Returns how many. Never rejects. */
  sweep(): Promise<number>;
}

/**
 * The cache as files `<dir>/ab/cdef…`, named by the SHA-256 of their keys: a header line of JSON, then the value. A value is
 * written to a temporary file and renamed, so that readers in other processes see it whole or not at all. Nothing is fsynced:
 * what power takes away is a miss.
 *
 * @param now the wall clock in milliseconds
 */
export function createFileCache(dir: string, now: () => number = Date.now): FileCache {
  const folderOf = (key: CacheKey): string => join(dir, sha256(key).slice(0, 2));
  const pathOf = (key: CacheKey): string => join(folderOf(key), sha256(key).slice(2));

  async function get(key: CacheKey): Promise<Uint8Array | null> {
    const bytes = await reaching(() => readFile(pathOf(key)).catch(unlessMissing));
    if (bytes === null) return null;
    const { header, value } = partsOf(bytes);
    const holds = header?.key === key && !hasExpired(header, now()) && header.sha256 === sha256(value);
    return holds ? value : null;
  }

  async function put(key: CacheKey, value: Uint8Array, { ttl_ms }: CachePutOptions = {}): Promise<void> {
    assertCacheable(value);
    const expires_at = ttl_ms === undefined ? null : now() + ttl_ms;
    const header = { key, expires_at, sha256: sha256(value) } satisfies Header;
    const bytes = Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), value]);
    const temporary = join(dir, 'tmp', randomUUID());
    await reaching(async () => {
      try {
        await mkdir(join(dir, 'tmp'), { recursive: true });
        await mkdir(folderOf(key), { recursive: true });
        await writeFile(temporary, bytes, { flag: 'wx' });
        await rename(temporary, pathOf(key));
      } catch (error) {
        await rm(temporary, { force: true }).catch(() => undefined);
        throw error;
      }
    });
  }

  async function sweep(): Promise<number> {
    let removed = 0;
    for (const folder of await readdir(dir).catch(() => [])) {
      for (const name of await readdir(join(dir, folder)).catch(() => [])) {
        const path = join(dir, folder, name);
        const gone = folder === 'tmp' ? await isStale(path, now()) : await isExpired(path, now());
        if (!gone) continue;
        await rm(path, { force: true }).catch(() => undefined);
        removed++;
      }
    }
    return removed;
  }

  return { get, put, sweep };
}

function partsOf(bytes: Buffer): { readonly header: Header | null; readonly value: Buffer } {
  const end = bytes.indexOf(10);
  try {
    return { header: JSON.parse(bytes.toString('utf8', 0, end)) as Header, value: bytes.subarray(end + 1) };
  } catch {
    return { header: null, value: bytes }; // Cut short, or not of this cache: as if it were not there.
  }
}

function hasExpired({ expires_at }: Header, now_ms: number): boolean {
  return expires_at !== null && expires_at <= now_ms;
}

async function isExpired(path: string, now_ms: number): Promise<boolean> {
  const header = await readHeader(path).catch(() => null);
  return header !== null && hasExpired(header, now_ms);
}

async function readHeader(path: string): Promise<Header | null> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(header_bytes_max), 0, header_bytes_max, 0);
    return partsOf(buffer.subarray(0, bytesRead)).header;
  } finally {
    await file.close();
  }
}

async function isStale(path: string, now_ms: number): Promise<boolean> {
  const modified_ms = await stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => now_ms,
  );
  return now_ms - modified_ms > stale_ms;
}

function unlessMissing(error: unknown): null {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
  throw error;
}

/** What the file system answers. Throws {@link CacheUnavailable} naming the errno. */
async function reaching<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { code = String(error) } = error as NodeJS.ErrnoException;
    throw new CacheUnavailable(
      `The cache below HXO_HOME cannot be used (${code}). See that there is room, and that HXO may write there.`,
      { cause: error },
    );
  }
}
