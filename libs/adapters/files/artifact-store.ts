import { randomUUID } from 'node:crypto';
import { open, mkdir, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { createReadStream } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import {
  ArtifactMissing,
  sha256,
  sha256Stream,
  type ArtifactRef,
  type ArtifactStore,
  type Digest,
} from '#hxo/execute';

/** A temporary file that nobody wrote to for so long belongs to a process that died. */
const stale_ms = 60 * 60 * 1000;
/** Smaller chunks, as lines are, gather until they are this much: a call to the system for each would cost more than they. */
const write_bytes = 64 * 1024;

export interface FileArtifactStore extends ArtifactStore {
  /** Removes temporary files of processes that died. Returns how many. `now_ms` is the wall clock. */
  sweep(now_ms: number): Promise<number>;
}

/**
 * Blobs as files `<dir>/ab/cdef…`, named by digest. A blob is written to `<dir>/tmp`, fsynced, renamed, and its folder
 * fsynced, so a digest's name never shows anything but the whole blob, whatever crashes.
 */
export function createArtifactStore(dir: string): FileArtifactStore {
  const durableFolders = new Set<string>();
  const folderOf = (digest: Digest): string => join(dir, digest.slice(0, 2));
  const pathOf = (digest: Digest): string => join(folderOf(digest), digest.slice(2));

  async function makeFolder(folder: string): Promise<void> {
    if (durableFolders.has(folder)) return;
    await mkdir(folder, { recursive: true });
    // Once for each process, because another one may have made the folder and died before this.
    await fsyncFolder(dir);
    durableFolders.add(folder);
  }

  /** True when the blob is there. One of another length was damaged from outside, and is written anew. */
  async function isKept({ digest, bytes }: ArtifactRef): Promise<boolean> {
    if ((await size(digest)) !== bytes) return false;
    // Whoever renamed it may have died before the name was durable.
    await fsyncFolder(folderOf(digest));
    return true;
  }

  async function store(ref: ArtifactRef, temporary: string): Promise<void> {
    await makeFolder(folderOf(ref.digest));
    await rename(temporary, pathOf(ref.digest));
    await fsyncFolder(folderOf(ref.digest));
  }

  async function put(content: Uint8Array | AsyncIterable<Uint8Array>): Promise<ArtifactRef> {
    const known = content instanceof Uint8Array ? { digest: sha256(content), bytes: content.length } : null;
    if (known !== null && (await isKept(known))) return known;
    const temporary = await createTemporary(join(dir, 'tmp'));
    try {
      const ref = await writeDurably(temporary.file, content);
      if (known === null && (await isKept(ref))) await rm(temporary.path);
      else await store(ref, temporary.path);
      return ref;
    } catch (error) {
      await rm(temporary.path, { force: true });
      throw error;
    }
  }

  async function size(digest: Digest): Promise<number | null> {
    try {
      return (await stat(pathOf(digest))).size;
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }

  async function openBlob(digest: Digest): Promise<ReturnType<typeof createReadStream>> {
    const stream = createReadStream(pathOf(digest), { highWaterMark: 256 * 1024 });
    try {
      await once(stream, 'open');
      return stream;
    } catch (error) {
      throw isMissing(error) ? new ArtifactMissing(digest) : error;
    }
  }

  async function verify(digest: Digest): Promise<'ok' | 'missing' | 'corrupt'> {
    if ((await size(digest)) === null) return 'missing';
    const hash = sha256Stream();
    for await (const chunk of await openBlob(digest)) hash.update(chunk as Buffer);
    return hash.digest() === digest ? 'ok' : 'corrupt';
  }

  async function quarantine(digest: Digest): Promise<void> {
    const folder = join(dir, 'quarantine');
    await mkdir(folder, { recursive: true });
    await rename(pathOf(digest), join(folder, digest)).catch((error: unknown) => {
      if (!isMissing(error)) throw error;
    });
  }

  return {
    put,
    open: openBlob,
    size,
    verify,
    quarantine,
    sweep: (now_ms) => sweep(join(dir, 'tmp'), now_ms),
  };
}

async function createTemporary(folder: string): Promise<{ path: string; file: FileHandle }> {
  const path = join(folder, randomUUID());
  try {
    return { path, file: await open(path, 'wx', 0o644) };
  } catch (error) {
    if (!isMissing(error)) throw error;
    await mkdir(folder, { recursive: true });
    return { path, file: await open(path, 'wx', 0o644) };
  }
}

/** Writes and fsyncs; always closes the file. Keeps chunks until they are written: whoever gives them leaves them as they are. */
async function writeDurably(
  file: FileHandle,
  content: Uint8Array | AsyncIterable<Uint8Array>,
): Promise<ArtifactRef> {
  try {
    const hash = sha256Stream();
    let bytes = 0;
    let waiting: Uint8Array[] = [];
    let waiting_bytes = 0;
    const write = async (): Promise<void> => {
      await file.writeFile(waiting.length === 1 ? waiting[0]! : Buffer.concat(waiting));
      waiting = [];
      waiting_bytes = 0;
    };
    for await (const chunk of content instanceof Uint8Array ? [content] : content) {
      hash.update(chunk);
      bytes += chunk.length;
      waiting.push(chunk);
      waiting_bytes += chunk.length;
      if (waiting_bytes >= write_bytes) await write();
    }
    if (waiting.length > 0) await write();
    await file.datasync();
    return { digest: hash.digest(), bytes };
  } finally {
    await file.close();
  }
}

async function fsyncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function sweep(folder: string, now_ms: number): Promise<number> {
  let removed = 0;
  for (const name of await readdir(folder).catch(() => [])) {
    const path = join(folder, name);
    const modified = await stat(path).then(
      ({ mtimeMs }) => mtimeMs,
      () => now_ms,
    );
    if (now_ms - modified <= stale_ms) continue;
    await rm(path, { force: true });
    removed++;
  }
  return removed;
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}
