import { digestOf, sha256, type Digest } from '../digest.js';
import { checkConsistency, proveConsistency, type ConsistencyProof } from './consistency.js';
import { merkleRoot } from './root.js';
import { leafHash, leafRange } from './tree-hash.js';

const sizes_max = 70;
const all = Buffer.concat(Array.from({ length: sizes_max }, (_, i) => leafHash(`leaf ${i}`)));
const roots = Array.from({ length: sizes_max + 1 }, (_, size) => merkleRoot(leafRange(all, 0, size)));

/** The same digest with one bit turned. */
function flipped(digest: Digest, bit: number): Digest {
  const bytes = Buffer.from(digest, 'hex');
  bytes[bit >> 3]! ^= 1 << (bit & 7);
  return digestOf(bytes);
}

function eachProof(visit: (proof: ConsistencyProof) => void): void {
  for (let size2 = 1; size2 <= sizes_max; size2++) {
    const leaves = leafRange(all, 0, size2);
    for (let size1 = 1; size1 <= size2; size1++) {
      const path = proveConsistency(leaves, size1);
      visit({ size1, root1: roots[size1]!, size2, root2: roots[size2]!, path });
    }
  }
}

/** Those of these forgeries that pass. */
function accepted(forgeries: ConsistencyProof[]): ConsistencyProof[] {
  return forgeries.filter(checkConsistency);
}

describe('consistency proofs, for every pair of sizes', () => {
  it('hold', () => {
    eachProof((proof) => expect(checkConsistency(proof)).toBe(true));
  });

  it('fail when any hash is flipped', () => {
    eachProof((proof) => {
      const bit = (proof.size1 * 37 + proof.size2) % 256;
      const forgeries: ConsistencyProof[] = [
        { ...proof, root1: flipped(proof.root1, bit) },
        { ...proof, root2: flipped(proof.root2, bit) },
        ...proof.path.map((hash, i) => ({ ...proof, path: proof.path.with(i, flipped(hash, bit)) })),
      ];
      expect(accepted(forgeries)).toEqual([]);
    });
  });

  it('fail when the path is longer or shorter, at either end', () => {
    eachProof((proof) => {
      const { path } = proof;
      const paths = [sha256('extra'), proof.root1, proof.root2].flatMap((extra) => [
        [...path, extra],
        [extra, ...path],
      ]);
      if (path.length > 0) paths.push(path.slice(1), path.slice(0, -1));
      expect(accepted(paths.map((other) => ({ ...proof, path: other })))).toEqual([]);
    });
  });

  it('fail for a tree that rewrote an old leaf', () => {
    for (let size2 = 2; size2 <= sizes_max; size2++) {
      const rewritten = Buffer.from(leafRange(all, 0, size2));
      rewritten[0]! ^= 1;
      for (let size1 = 1; size1 < size2; size1++) {
        const path = proveConsistency(rewritten, size1);
        const root2 = merkleRoot(rewritten);
        expect(checkConsistency({ size1, root1: roots[size1]!, size2, root2, path })).toBe(false);
      }
    }
  });
});

describe('checkConsistency', () => {
  const proof: ConsistencyProof = {
    size1: 21,
    root1: roots[21]!,
    size2: sizes_max,
    root2: roots[sizes_max]!,
    path: proveConsistency(all, 21),
  };

  it.each([
    ['an empty older tree', { size1: 0, root1: roots[0]!, path: [] }],
    ['an older tree that is larger', { size1: sizes_max + 1 }],
    ['half a leaf', { size1: 20.5 }],
    ['an endless tree', { size2: Infinity }],
    ['a root in capitals', { root2: proof.root2.toUpperCase() as Digest }],
    ['a short hash on the path', { path: proof.path.with(0, proof.path[0]!.slice(2) as Digest) }],
  ])('is false for %s', (_, change) => {
    expect(checkConsistency(proof)).toBe(true);
    expect(checkConsistency({ ...proof, ...change })).toBe(false);
  });

  it('is false for equal sizes with different roots', () => {
    expect(checkConsistency({ size1: 5, root1: roots[5]!, size2: 5, root2: roots[6]!, path: [] })).toBe(
      false,
    );
  });
});

describe('proveConsistency', () => {
  it.each([0, -1, sizes_max + 1, 1.5])('refuses an older size of %p', (size1) => {
    expect(() => proveConsistency(all, size1)).toThrow(RangeError);
  });
});
