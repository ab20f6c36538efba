import { digestBytes, digestOf, isDigest, type Digest } from '../digest.js';
import { merkleRoot } from './root.js';
import { hash_bytes, leafCount, leafRange, leftSize, nodeHash, parentIndex } from './tree-hash.js';

/** The claim that a leaf stands at an index of a tree, with the path that proves it. */
export interface InclusionProof {
  /** The leaf's hash, 32 bytes. */
  readonly leaf_hash: Uint8Array;
  /** Its position, from 0. */
  readonly index: number;
  /** Leaves in the tree. */
  readonly size: number;
  /** The siblings from the leaf up to the root. */
  readonly path: readonly Digest[];
  readonly root: Digest;
}

/**
 * The siblings of leaf `index` from the leaf up: PATH(index, D[n]) of RFC 9162 §2.1.3.1.
 *
 * Throws RangeError when there is no such leaf or the buffer does not hold whole hashes.
 */
export function proveInclusion(leaves: Uint8Array, index: number): Digest[] {
  const size = leafCount(leaves);
  if (!Number.isInteger(index) || index < 0 || index >= size) {
    throw new RangeError(`There is no leaf ${index} in a tree of ${size} leaves, counted from 0.`);
  }
  const fromRoot: Digest[] = [];
  let start = 0;
  let end = size;
  while (end - start > 1) {
    const middle = start + leftSize(end - start);
    if (index < middle) {
      fromRoot.push(merkleRoot(leafRange(leaves, middle, end)));
      end = middle;
    } else {
      fromRoot.push(merkleRoot(leafRange(leaves, start, middle)));
      start = middle;
    }
  }
  return fromRoot.reverse();
}

/**
 * True when the path leads from the leaf to the root (RFC 9162 §2.1.3.2). Takes untrusted input: anything but
 * 32-byte hashes, an index below the size and a path of exactly the right length is false.
 */
export function checkInclusion(proof: InclusionProof): boolean {
  const { leaf_hash, index, size, path, root } = proof;
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) return false;
  if (leaf_hash.byteLength !== hash_bytes || !isDigest(root) || !path.every(isDigest)) return false;

  let node = index;
  let last = size - 1;
  let reached = leaf_hash;
  for (const step of path) {
    if (last === 0) return false; // The path is too long.
    const sibling = digestBytes(step);
    if (node % 2 === 1 || node === last) {
      reached = nodeHash(sibling, reached);
      // A last node without partner was lifted unchanged: skip the levels on which it had none.
      while (node % 2 === 0 && node !== 0) {
        node = parentIndex(node);
        last = parentIndex(last);
      }
    } else {
      reached = nodeHash(reached, sibling);
    }
    node = parentIndex(node);
    last = parentIndex(last);
  }
  return last === 0 && digestOf(reached) === root;
}
