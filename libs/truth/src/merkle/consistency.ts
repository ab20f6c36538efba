import { digestBytes, digestOf, isDigest, type Digest } from '../digest.js';
import { merkleRoot } from './root.js';
import { leafCount, leafRange, leftSize, nodeHash, parentIndex } from './tree-hash.js';

/** The claim that a tree of `size2` leaves only appended to one of `size1`, with the path that proves it. */
export interface ConsistencyProof {
  /** Leaves in the older tree, at least 1: everything extends the empty tree, so nothing would be proved. */
  readonly size1: number;
  readonly root1: Digest;
  /** Leaves in the newer tree. */
  readonly size2: number;
  readonly root2: Digest;
  readonly path: readonly Digest[];
}

/**
 * Proves that these leaves begin with the first `size1` of them: PROOF(size1, D[n]) of RFC 9162 §2.1.4.1.
 * Empty when `size1` is all of them.
 *
 * Throws RangeError when `size1` is not from 1 to the number of leaves, or the buffer does not hold whole hashes.
 */
export function proveConsistency(leaves: Uint8Array, size1: number): Digest[] {
  const size2 = leafCount(leaves);
  if (!Number.isInteger(size1) || size1 < 1 || size1 > size2) {
    throw new RangeError(`The older tree must have 1 to ${size2} leaves, not ${size1}.`);
  }
  const fromRoot: Digest[] = [];
  let start = 0;
  let end = size2;
  while (end !== size1) {
    const middle = start + leftSize(end - start);
    if (size1 <= middle) {
      fromRoot.push(merkleRoot(leafRange(leaves, middle, end)));
      end = middle;
    } else {
      fromRoot.push(merkleRoot(leafRange(leaves, start, middle)));
      start = middle;
    }
  }
  // The older tree's own root needs no proof; a smaller subtree that both trees share does.
  if (start > 0) fromRoot.push(merkleRoot(leafRange(leaves, start, end)));
  return fromRoot.reverse();
}

/**
 * True when the path shows that the newer tree begins with the older one (RFC 9162 §2.1.4.2). Takes untrusted
 * input: anything but 32-byte hashes, 1 ≤ size1 ≤ size2 and a path of exactly the right length is false.
 */
export function checkConsistency(proof: ConsistencyProof): boolean {
  const { size1, root1, size2, root2, path } = proof;
  if (!Number.isSafeInteger(size1) || !Number.isSafeInteger(size2) || size1 < 1 || size1 > size2)
    return false;
  if (!isDigest(root1) || !isDigest(root2) || !path.every(isDigest)) return false;
  if (size1 === size2) return path.length === 0 && root1 === root2;
  if (path.length === 0) return false;

  // A complete older tree is itself the subtree that the proof starts from, and is left out of the path.
  const [first, ...rest] = isPowerOfTwo(size1) ? [root1, ...path] : path;
  let node = size1 - 1;
  let last = size2 - 1;
  while (node % 2 === 1) {
    node = parentIndex(node);
    last = parentIndex(last);
  }
  let older: Uint8Array = digestBytes(first!);
  let newer: Uint8Array = older;
  for (const step of rest) {
    if (last === 0) return false; // The path is too long.
    const sibling = digestBytes(step);
    if (node % 2 === 1 || node === last) {
      older = nodeHash(sibling, older);
      newer = nodeHash(sibling, newer);
      // A last node without partner was lifted unchanged: skip the levels on which it had none.
      while (node % 2 === 0 && node !== 0) {
        node = parentIndex(node);
        last = parentIndex(last);
      }
    } else {
      newer = nodeHash(newer, sibling);
    }
    node = parentIndex(node);
    last = parentIndex(last);
  }
  return last === 0 && digestOf(older) === root1 && digestOf(newer) === root2;
}

function isPowerOfTwo(n: number): boolean {
  return leftSize(2 * n) === n;
}
