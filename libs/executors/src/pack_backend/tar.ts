import type { ExecutorContext, Shard } from '#hxo/execute';
import { readFile } from '../read-file.js';
import type { PackInputs, PackedFile } from './inputs.js';
import { padding, tarEnd, tarHeader } from './tar-header.js';

/** A tar is handed out in blocks of this size: hashing and compressing cost by the call. */
const block_bytes = 256 * 1024;

/**
 * The shard's files as a tar that depends on nothing but their paths, modes and bytes: the order of the inputs, mtime 0,
 * uid and gid 0, no names, mode 755 for executable files and 644 for others. Names that ustar cannot hold go into a pax
 * header (POSIX.1-2001). Each file's SHA-256 is compared with its input digest while it is read.
 *
 * Throws FailShard `FILE_CHANGED`.
 */
export async function* tarOf(
  { inputs: { root, entries, part }, input_digests }: Shard<PackInputs>,
  context: Pick<ExecutorContext, 'workspace' | 'signal'>,
): AsyncGenerator<Buffer> {
  const blocks = new Blocks();
  const into = Buffer.allocUnsafeSlow(block_bytes);
  for (const [i, entry] of entries.entries()) {
    const { path, total_bytes: bytes, offset, length, executable } = entry;
    const header = tarHeader({ name: entryName(entry, part), bytes: length, executable });
    for (const block of blocks.add(header)) yield block;
    const reading = { offset, length, into };
    for await (const chunk of readFile(context, root, { path, bytes }, input_digests[i]!, reading)) {
      for (const block of blocks.add(chunk)) yield block;
    }
    for (const block of blocks.add(padding(length))) yield block;
  }
  for (const block of blocks.add(tarEnd())) yield block;
  yield blocks.rest();
}

/** The name of a range's one entry: `big.bin.hxo-part-10000000` holds the bytes of `big.bin` from that offset on. */
export function entryName(file: PackedFile, part: boolean): string {
  return part ? `${file.path}.hxo-part-${file.offset}` : file.path;
}

/** Joins pieces into blocks of {@link block_bytes}. Each is memory of its own, for it is compressed while others are filled. */
class Blocks {
  #open = Buffer.allocUnsafeSlow(block_bytes);
  #length = 0;

  /** Copies the piece, and gives the blocks that have become full. */
  *add(piece: Uint8Array): Generator<Buffer> {
    for (let at = 0; at < piece.length;) {
      const taken = piece.subarray(at, at + block_bytes - this.#length);
      this.#open.set(taken, this.#length);
      this.#length += taken.length;
      at += taken.length;
      if (this.#length < block_bytes) continue;
      yield this.#open;
      this.#open = Buffer.allocUnsafeSlow(block_bytes);
      this.#length = 0;
    }
  }

  /** What is left: less than a block, and nothing may be added any more. */
  rest(): Buffer {
    return this.#open.subarray(0, this.#length);
  }
}
