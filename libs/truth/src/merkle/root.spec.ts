import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { digestOf } from '../digest.js';
import { hashNode } from './node-sha256.js';
import { merkleRoot } from './root.js';
import { empty_root, hash_bytes, leafCount, leafHash, leafRange, leftSize, nodeHash } from './tree-hash.js';

interface Vectors {
  leaves: string[];
  roots: string[];
}

const vectors = JSON.parse(
  readFileSync(new URL('../../../../test/vectors/merkle.json', import.meta.url), 'utf8'),
) as Vectors;

/** The definition of RFC 9162 §2.1.1, word for word. */
function rootByDefinition(leaves: Uint8Array): Buffer {
  const size = leafCount(leaves);
  if (size === 0) return Buffer.from(empty_root, 'hex');
  if (size === 1) return Buffer.from(leaves);
  const left = leftSize(size);
  return nodeHash(
    rootByDefinition(leafRange(leaves, 0, left)),
    rootByDefinition(leafRange(leaves, left, size)),
  );
}

describe('merkleRoot', () => {
  it.each(vectors.roots.map((root, size) => ({ size, root })))(
    'knows the root of $size leaves',
    ({ size, root }) => {
      const hashes = vectors.leaves.slice(0, size).map((leaf) => leafHash(Buffer.from(leaf, 'hex')));
      expect(merkleRoot(Buffer.concat(hashes))).toBe(root);
    },
  );

  it('equals the recursive definition for every size up to 130', () => {
    const leaves = randomBytes(130 * hash_bytes);
    for (let size = 0; size <= 130; size++) {
      const some = leafRange(leaves, 0, size);
      expect(merkleRoot(some)).toBe(digestOf(rootByDefinition(some)));
    }
  });

  it('leaves its input alone and accepts a view at any offset', () => {
    const bytes = randomBytes(1 + 5 * hash_bytes);
    const view = bytes.subarray(1);
    const before = Buffer.from(view);
    expect(merkleRoot(view)).toBe(digestOf(rootByDefinition(before)));
    expect(view.equals(before)).toBe(true);
  });

  it('does not depend on how the leaves are spread over buffers', () => {
    const leaves = randomBytes(70 * hash_bytes);
    for (let cut = 0; cut <= 70; cut++) {
      const parts = [leafRange(leaves, 0, cut), leafRange(leaves, cut, 70)];
      expect(merkleRoot(parts)).toBe(merkleRoot(leaves));
    }
    expect(merkleRoot([])).toBe(empty_root);
  });

  it('refuses a buffer of broken hashes', () => {
    expect(() => merkleRoot(Buffer.alloc(33))).toThrow(RangeError);
    expect(() => merkleRoot([Buffer.alloc(16), Buffer.alloc(16)])).toThrow(RangeError);
  });
});

describe('hashNode', () => {
  it('equals node:crypto on any pair of children', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 64, maxLength: 64 }), (children) => {
        const view = new DataView(children.buffer, children.byteOffset);
        const words = Int32Array.from({ length: 16 }, (_, i) => view.getInt32(4 * i));
        hashNode(words, 0, 8);
        const hash = Buffer.alloc(hash_bytes);
        for (let i = 0; i < 8; i++) hash.writeInt32BE(words[8 + i]!, 4 * i);
        expect(hash).toEqual(createHash('sha256').update('\x01').update(children).digest());
        expect(words[0]).toBe(view.getInt32(0));
      }),
    );
  });

  it('may write over its children', () => {
    const apart = Int32Array.from({ length: 24 }, (_, i) => i * 0x01234567);
    const inPlace = apart.slice();
    hashNode(apart, 0, 16);
    hashNode(inPlace, 0, 0);
    expect(inPlace.subarray(0, 8)).toEqual(apart.subarray(16));
  });
});

describe('leafHash', () => {
  it('takes a text as its UTF-8 bytes', () => {
    expect(leafHash('größe')).toEqual(leafHash(Buffer.from('größe', 'utf8')));
  });
});
