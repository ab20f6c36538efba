import { mkdtemp, open, rm, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { sha256Stream, type Digest } from '#truth';
import { CommandError, exit_codes } from './exit-codes.js';
import { patiently } from './watch.js';

/** What downloading needs of a server. */
export interface ArtifactSource {
  artifact(digest: Digest): Promise<AsyncIterable<Uint8Array>>;
}

/** What is taken off the network ahead of the disk, so that the end of an answer never waits for a slow disk. */
const ahead_bytes = 16 * 1024 * 1024;
const chunk_bytes = 256 * 1024;
/** Long enough for a restart of the server; a download that breaks off every time must not be tried for ever. */
const patience_ms = 60_000;

/**
 * Artifacts of a server on this machine's disk, read from there as slowly as anybody likes: a server closes an answer that
 * is not taken. Each slot holds one artifact. The files have no names, so nothing is left of them however the process ends.
 */
export class Downloads {
  private readonly held = new Map<string, { readonly digest: Digest; readonly file: FileHandle }>();

  constructor(
    private readonly source: ArtifactSource,
    /** Told in one sentence when a download broke off and is tried again. */
    private readonly note: (sentence: string) => void,
  ) {}

  /**
   * The artifact's bytes, whose digest has been checked. It takes the place of another one in the same slot.
   * Throws {@link CommandError} when it cannot be had, or is not what its digest says.
   */
  async open(slot: string, digest: Digest): Promise<AsyncIterable<Uint8Array>> {
    let held = this.held.get(slot);
    if (held?.digest !== digest) {
      await held?.file.close();
      this.held.delete(slot);
      const file = await patiently(() => download(this.source, digest), { note: this.note, patience_ms });
      held = { digest, file };
      this.held.set(slot, held);
    }
    return contentOf(held.file);
  }

  async close(): Promise<void> {
    await Promise.all([...this.held.values()].map(({ file }) => file.close()));
    this.held.clear();
  }
}

async function download(source: ArtifactSource, digest: Digest): Promise<FileHandle> {
  try {
    const file = await openUnnamed();
    await fill(file, source, digest).catch(async (error: unknown) => {
      await file.close();
      throw error;
    });
    return file;
  } catch (error) {
    throw isFull(error) ? temporaryFolderFull() : error;
  }
}

async function fill(file: FileHandle, source: ArtifactSource, digest: Digest): Promise<void> {
  const hash = sha256Stream();
  await pipeline(
    await source.artifact(digest),
    new PassThrough({ highWaterMark: ahead_bytes }),
    async (chunks: AsyncIterable<Uint8Array>) => {
      for await (const chunk of chunks) {
        hash.update(chunk);
        await file.appendFile(chunk);
      }
    },
  );
  if (hash.digest() === digest) return;
  throw new CommandError(
    exit_codes.failed,
    'ARTIFACT_DAMAGED',
    `The server's artifact ${digest} is damaged: its bytes have another SHA-256. Submit the plan again.`,
  );
}

/** A file that is gone once it is closed. */
async function openUnnamed(): Promise<FileHandle> {
  const folder = await mkdtemp(join(tmpdir(), 'hxo-download-'));
  try {
    return await open(join(folder, 'artifact'), 'wx+', 0o600);
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function* contentOf(file: FileHandle): AsyncGenerator<Uint8Array> {
  for (let at = 0; ;) {
    const chunk = Buffer.allocUnsafe(chunk_bytes);
    const { bytesRead } = await file.read(chunk, 0, chunk.length, at);
    if (bytesRead === 0) return;
    yield chunk.subarray(0, bytesRead);
    at += bytesRead;
  }
}

function isFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOSPC';
}

function temporaryFolderFull(): CommandError {
  return new CommandError(
    exit_codes.failed,
    'DISK_FULL',
    `There is no room in ${tmpdir()} for a download. Free some, or set TMPDIR to a folder with room for the largest pack.`,
  );
}
