import fc from 'fast-check';
import { canonicalJson, NotCanonicalError } from '../canonical-json.js';
import { sha256, type Digest } from '../digest.js';
import { planLeaf, planLeafText, shardLeafHasher, type PlanLeaf } from './plan-leaf.js';
import { leafHash } from './tree-hash.js';

const digests = fc.uint8Array().map((bytes) => sha256(bytes));
const names = fc.string({ unit: 'binary' });
const wellFormed = names.map((name) => name.toWellFormed());
const leaves: fc.Arbitrary<PlanLeaf> = fc.record({
  cas: fc.option(digests),
  executor: names,
  ordinal: fc.option(fc.maxSafeNat()),
  output: fc.option(digests),
  stage: names,
  status: fc.constantFrom('done', 'failed', 'skipped'),
});

const shard: PlanLeaf = {
  cas: sha256('inputs'),
  executor: 'pack_backend',
  ordinal: 7,
  output: sha256('output'),
  stage: 'pack',
  status: 'done',
};

describe('planLeaf', () => {
  it('hashes the canonical JSON of any leaf', () => {
    fc.assert(
      fc.property(leaves, (leaf) => {
        expect(planLeafText(leaf)).toBe(canonicalJson({ ...leaf, v: 1 }));
        expect(planLeaf(leaf)).toEqual(leafHash(canonicalJson({ ...leaf, v: 1 })));
      }),
    );
  });

  it('is what the hasher of a stage gives for each of its shards', () => {
    const shards = fc.record({ cas: digests, ordinal: fc.maxSafeNat(), output: fc.option(digests) });
    const statuses = fc.constantFrom('done' as const, 'failed' as const, 'skipped' as const);
    fc.assert(
      fc.property(wellFormed, wellFormed, shards, statuses, (executor, stage, shard, status) => {
        const { cas, ordinal, output } = shard;
        const hash = shardLeafHasher(executor, stage)(cas, ordinal, output, status);
        expect(Buffer.from(hash, 'latin1')).toEqual(planLeaf({ ...shard, executor, stage, status }));
      }),
    );
  });

  it('depends on every field', () => {
    const others: PlanLeaf[] = [
      { ...shard, cas: null },
      { ...shard, executor: 'index_assets' },
      { ...shard, ordinal: 8 },
      { ...shard, ordinal: null },
      { ...shard, output: null },
      { ...shard, stage: 'pack2' },
      { ...shard, status: 'failed' },
    ];
    const hashes = [shard, ...others].map((leaf) => planLeaf(leaf).toString('hex'));
    expect(new Set(hashes).size).toBe(hashes.length);
  });

  it('takes nothing else into account', () => {
    const more = { ...shard, attempt: 3, plan_id: 'another' };
    expect(planLeaf(more)).toEqual(planLeaf(shard));
  });

  it.each([-1, 0.5, NaN, 2 ** 53])('refuses ordinal %p', (ordinal) => {
    expect(() => planLeaf({ ...shard, ordinal })).toThrow(NotCanonicalError);
  });

  it('refuses a name that has no UTF-8 form', () => {
    expect(() => planLeaf({ ...shard, stage: 'a\ud800' })).toThrow(NotCanonicalError);
  });

  it('prints a minus zero as JSON does', () => {
    const output: Digest = sha256('');
    expect(planLeafText({ ...shard, output, ordinal: -0 })).toBe(
      canonicalJson({ ...shard, output, ordinal: -0, v: 1 }),
    );
  });
});
