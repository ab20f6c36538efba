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
import { padding, tarEnd, tarHeader } from './tar-header.js';

/** Small tar pieces are joined into blocks of about this size: hashing and compressing cost by the call. */
const block_bytes = 256 * 1024;

/**
 * The shard's files as a tar that depends on nothing but their paths, modes and bytes: the order of the inputs, mtime 0,
 * uid and gid 0, no names, mode 755 for executable files and 644 for others. Names that ustar cannot hold go into a pax
 * header (POSIX.1-2001). Each file's SHA-256 is compared with its input digest while it is read.
 *
 * Throws {@link FailShard} `FILE_CHANGED`.
 */
export function tarOf(shard: Shard<PackInputs>, workspace: Workspace): AsyncGenerator<Buffer> {
  return inBlocks(pieces(shard, workspace));
}

async function* pieces(shard: Shard<PackInputs>, workspace: Workspace): AsyncGenerator<Uint8Array> {
  const { root, entries, part } = shard.inputs;
  for (const [i, file] of entries.entries()) {
    const { length: bytes, executable } = file;
    yield tarHeader({ name: entryName(file, part), bytes, executable });
    yield* checked(file, root, shard.input_digests[i], workspace);
    yield padding(bytes);
  }
  yield tarEnd();
}

/** The name of a range's one entry: `big.bin.hxo-part-10000000` holds the bytes of `big.bin` from that offset on. */
export function entryName(file: PackedFile, part: boolean): string {
  return part ? `${file.path}.hxo-part-${file.offset}` : file.path;
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

async function* inBlocks(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let held: Uint8Array[] = [];
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
