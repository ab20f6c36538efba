import { pack, type Pack } from 'tar-stream';
import {
  FailShard,
  FileChanged,
  WorkspacePathError,
  sha256Stream,
  type Digest,
  type Shard,
  type Workspace,
} from '#hxo/execute';
import type { PackInputs, PackedFile } from './inputs.js';

/** Small tar pieces are joined into blocks of about this size: hashing and compressing cost by the call. */
const block_bytes = 256 * 1024;

type EntryHeader = Parameters<Pack['entry']>[0];

/** 1970-01-01, because a pack tells nothing of when it was made. */
const epoch = new Date(0);

/**
 * The shard's files as a tar that depends on nothing but their paths, modes and bytes: the order of the inputs, mtime 0,
 * uid and gid 0, no names, mode 755 for executable files and 644 for others. Names that ustar cannot hold go into a pax
 * header (POSIX.1-2001). Each file's SHA-256 is compared with its input digest while it is read.
 *
 * Throws {@link FailShard} `FILE_CHANGED`.
 */
export async function* tarOf(shard: Shard<PackInputs>, workspace: Workspace): AsyncGenerator<Buffer> {
  const tar = pack();
  const writing = writeEntries(tar, shard, workspace).then(
    () => tar.finalize(),
    (error: unknown) => void tar.destroy(error as Error),
  );
  try {
    // A streamx stream iterates, though its types do not say so.
    yield* inBlocks(tar as unknown as AsyncIterable<Buffer>);
  } finally {
    tar.destroy();
    await writing;
  }
}

/** The name of a range's one entry: `big.bin.hxo-part-10000000` holds the bytes of `big.bin` from that offset on. */
export function entryName(file: PackedFile, part: boolean): string {
  return part ? `${file.path}.hxo-part-${file.offset}` : file.path;
}

async function writeEntries(tar: Pack, shard: Shard<PackInputs>, workspace: Workspace): Promise<void> {
  const { root, entries, part } = shard.inputs;
  for (const [i, file] of entries.entries()) {
    const header = {
      name: entryName(file, part),
      size: file.length,
      mode: file.executable ? 0o755 : 0o644,
      mtime: epoch,
      uid: 0,
      gid: 0,
      type: 'file' as const,
    };
    await writeEntry(tar, header, checked(file, root, shard.input_digests[i], workspace));
  }
}

/** Resolves when the entry is written; rejects when its source fails, or nobody reads the tar any more. */
async function writeEntry(tar: Pack, header: EntryHeader, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  let entry!: ReturnType<Pack['entry']>;
  const written = new Promise<void>((resolve, reject) => {
    entry = tar.entry(header, (error) => (error ? reject(error) : resolve()));
    entry.on('error', reject);
  });
  // It is awaited below; without this a rejection before then would count as unhandled.
  written.catch(() => undefined);
  for await (const chunk of chunks) {
    const drained = new Promise<void>((resolve) => entry.once('drain', resolve));
    if (!entry.write(chunk)) await Promise.race([drained, written]);
  }
  entry.end(null);
  await written;
}

/** The file's chunks; fails at its end when their hash is not the expected one. */
async function* checked(
  file: PackedFile,
  root: string,
  expected: Digest | undefined,
  workspace: Workspace,
): AsyncGenerator<Uint8Array> {
  const hash = sha256Stream();
  const { path, total_bytes: expected_bytes, offset, length } = file;
  try {
    for await (const chunk of workspace.read({ root, path, expected_bytes, offset, length })) {
      hash.update(chunk);
      yield chunk;
    }
  } catch (error) {
    if (error instanceof FileChanged || error instanceof WorkspacePathError)
      throw fileChanged(error.message, error);
    throw error;
  }
  if (hash.digest() !== expected) {
    throw fileChanged(`"${path}" is not what it was when the plan was partitioned. Submit the plan again.`);
  }
}

function fileChanged(message: string, cause?: Error): FailShard {
  return new FailShard('FILE_CHANGED', message, { cause });
}

async function* inBlocks(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let held: Buffer[] = [];
  let bytes = 0;
  for await (const piece of pieces) {
    held.push(piece);
    bytes += piece.length;
    if (bytes < block_bytes) continue;
    yield Buffer.concat(held);
    held = [];
    bytes = 0;
  }
  if (bytes > 0) yield Buffer.concat(held);
}
