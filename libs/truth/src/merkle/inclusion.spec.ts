import { digestOf, sha256, type Digest } from '../digest.js';
import { checkInclusion, proveInclusion, type InclusionProof } from './inclusion.js';
import { merkleRoot } from './root.js';
import { leafHash, leafRange } from './tree-hash.js';

const sizes_max = 70;
const all = Buffer.concat(Array.from({ length: sizes_max }, (_, i) => leafHash(`leaf ${i}`)));

/** The same digest with one bit turned. */
function flipped(digest: Digest, bit: number): Digest {
  const bytes = Buffer.from(digest, 'hex');
  bytes[bit >> 3]! ^= 1 << (bit & 7);
  return digestOf(bytes);
}

function eachProof(visit: (proof: InclusionProof) => void): void {
  for (let size = 1; size <= sizes_max; size++) {
    const leaves = leafRange(all, 0, size);
    const root = merkleRoot(leaves);
    for (let index = 0; index < size; index++) {
      visit({
        leaf_hash: leafRange(leaves, index, index + 1),
        index,
        size,
        path: proveInclusion(leaves, index),
        root,
      });
    }
  }
}

/** Those of these forgeries that pass; comparing once keeps a hundred thousand of them cheap. */
function accepted(forgeries: InclusionProof[]): InclusionProof[] {
  return forgeries.filter(checkInclusion);
}

describe('inclusion proofs, for every leaf of every size', () => {
  it('lead to the root', () => {
    let proofs = 0;
    eachProof((proof) => {
      expect(checkInclusion(proof)).toBe(true);
      proofs++;
    });
    expect(proofs).toBe((sizes_max * (sizes_max + 1)) / 2);
  });

  it('fail when any hash is flipped', () => {
    eachProof((proof) => {
      const bit = (proof.index * 37 + proof.size) % 256;
      const leaf_hash = Buffer.from(flipped(digestOf(proof.leaf_hash), bit), 'hex');
      const forgeries: InclusionProof[] = [
        { ...proof, leaf_hash },
        { ...proof, root: flipped(proof.root, bit) },
        ...proof.path.map((hash, i) => ({ ...proof, path: proof.path.with(i, flipped(hash, bit)) })),
      ];
      expect(accepted(forgeries)).toEqual([]);
    });
  });

  it('fail when the path is longer or shorter, at either end', () => {
    eachProof((proof) => {
      const { path } = proof;
      const extras = [sha256('extra'), proof.root, digestOf(proof.leaf_hash)];
      const paths = extras.flatMap((extra) => [
        [...path, extra],
        [extra, ...path],
      ]);
      if (path.length > 0) paths.push(path.slice(1), path.slice(0, -1));
      expect(accepted(paths.map((other) => ({ ...proof, path: other })))).toEqual([]);
    });
  });

  it('fail at any other index', () => {
    eachProof((proof) => {
      const others = Array.from({ length: proof.size }, (_, i) => i).filter((i) => i !== proof.index);
      expect(accepted(others.map((index) => ({ ...proof, index })))).toEqual([]);
    });
  });
});

describe('checkInclusion', () => {
  const proof: InclusionProof = {
    leaf_hash: leafRange(all, 3, 4),
    index: 3,
    size: sizes_max,
    path: proveInclusion(all, 3),
    root: merkleRoot(all),
  };

  it.each([
    ['an index at the size', { index: sizes_max }],
    ['a negative index', { index: -1 }],
    ['half an index', { index: 3.5 }],
    ['an index that is no number', { index: NaN }],
    ['no size', { size: 0 }],
    ['an endless size', { size: Infinity }],
    ['a short leaf hash', { leaf_hash: leafRange(all, 3, 4).subarray(1) }],
    ['a long leaf hash', { leaf_hash: leafRange(all, 3, 5) }],
    ['a root in capitals', { root: proof.root.toUpperCase() as Digest }],
    ['a short hash on the path', { path: proof.path.with(0, proof.path[0]!.slice(2) as Digest) }],
  ])('is false for %s', (_, change) => {
    expect(checkInclusion(proof)).toBe(true);
    expect(checkInclusion({ ...proof, ...change })).toBe(false);
  });

  it('walks sizes beyond 32 bits', () => {
    // The last leaf of 2^40 + 1 hangs directly below the root: its one sibling is the complete left tree.
    const left = sha256('the root of 2^40 leaves');
    const leaves = Buffer.concat([Buffer.from(left, 'hex'), leafHash('last')]);
    const lone = { leaf_hash: leafHash('last'), index: 2 ** 40, size: 2 ** 40 + 1, root: merkleRoot(leaves) };
    expect(checkInclusion({ ...lone, path: [left] })).toBe(true);
    expect(checkInclusion({ ...lone, path: [left, left] })).toBe(false);
  });
});

describe('proveInclusion', () => {
  it.each([-1, sizes_max, 1.5, NaN])('refuses index %p', (index) => {
    expect(() => proveInclusion(all, index)).toThrow(RangeError);
  });

  it('refuses an empty tree', () => {
    expect(() => proveInclusion(Buffer.alloc(0), 0)).toThrow('There is no leaf 0 in a tree of 0 leaves');
  });
});
