import { digestOf, type Digest } from '../digest.js';
import { hashNode } from './node-sha256.js';
import { empty_root, hash_bytes, leafCount } from './tree-hash.js';

const words_per_hash = hash_bytes / 4;
/** Complete subtrees that a tree of fewer than 2^53 leaves can be made of, and one leaf. */
const subtrees_max = 54;

/**
 * The Merkle root of 32-byte leaf hashes (RFC 9162 §2.1.1), one flat buffer or several that follow each other.
 *
 * Keeps only the roots of the complete subtrees so far, one for each bit of their number, and joins the two last whenever
 * they have become alike. Joining what is left from the right gives the same tree as splitting at the largest power of two.
 * About 0.7 s for a million leaves, and no memory.
 *
 * Throws RangeError when a buffer does not hold whole hashes.
 */
export function merkleRoot(leaves: Uint8Array | readonly Uint8Array[]): Digest {
  const roots = new Int32Array(subtrees_max * words_per_hash);
  let size = 0;
  let depth = 0;
  const join = (): void => {
    depth--;
    const left = (depth - 1) * words_per_hash;
    hashNode(roots, left, left);
  };
  for (const part of leaves instanceof Uint8Array ? [leaves] : leaves) {
    const view = new DataView(part.buffer, part.byteOffset, part.byteLength);
    const end = leafCount(part) * hash_bytes;
    for (let at = 0; at < end; at += hash_bytes) {
      for (let i = 0; i < words_per_hash; i++) roots[depth * words_per_hash + i] = view.getInt32(at + 4 * i);
      depth++;
      size++;
      for (let alike = size; alike % 2 === 0; alike /= 2) join();
    }
  }
  if (size === 0) return empty_root;
  while (depth > 1) join();
  return digestOfWords(roots.subarray(0, words_per_hash));
}

function digestOfWords(words: Int32Array): Digest {
  const bytes = Buffer.alloc(hash_bytes);
  words.forEach((word, i) => bytes.writeInt32BE(word, 4 * i));
  return digestOf(bytes);
}
