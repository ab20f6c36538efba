import { createHash, hash } from 'node:crypto';
import type { Digest } from '../digest.js';

/** Bytes of one leaf or node hash. */
export const hash_bytes = 32;

/** Root of the tree without leaves: SHA-256 of nothing (RFC 9162 §2.1.1). */
export const empty_root = hash('sha256', '', 'hex') as Digest;

/** SHA-256(0x00 ‖ data), the hash of a leaf (RFC 9162 §2.1.1). A text is hashed as its UTF-8 bytes. */
export function leafHash(data: Uint8Array | string): Buffer {
  return createHash('sha256').update('\0').update(data).digest();
}

/** SHA-256(0x01 ‖ left ‖ right), the hash of an inner node (RFC 9162 §2.1.1). */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return createHash('sha256').update('\x01').update(left).update(right).digest();
}

/**
 * How many leaves a flat buffer of 32-byte leaf hashes holds.
 *
 * Throws RangeError when the buffer does not hold whole hashes.
 */
export function leafCount(leaves: Uint8Array): number {
  if (leaves.byteLength % hash_bytes !== 0) {
    throw new RangeError(
      `A buffer of leaf hashes holds ${hash_bytes} bytes a leaf, but this one has ${leaves.byteLength} bytes.`,
    );
  }
  return leaves.byteLength / hash_bytes;
}

/** The hashes of leaves `start` up to, but without, `end`; a view, not a copy. */
export function leafRange(leaves: Uint8Array, start: number, end: number): Uint8Array {
  return leaves.subarray(start * hash_bytes, end * hash_bytes);
}

/** The largest power of two below `size` (at least 2): how many leaves go left (RFC 9162 §2.1.1). */
export function leftSize(size: number): number {
  let left = 1;
  while (left * 2 < size) left *= 2;
  return left;
}

/** Where the parent of node `index` stands on the level above: a right shift by one, also beyond 32 bits. */
export function parentIndex(index: number): number {
  return Math.floor(index / 2);
}
