import { createPrivateKey, generateKeyPairSync, type JsonWebKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { sha256 } from '../digest.js';
import { planLeaf, type PlanLeaf } from '../merkle/plan-leaf.js';
import { merkleRoot } from '../merkle/root.js';
import { checkReceipt, makeReceipt, ReceiptError, type Receipt } from './receipt.js';
import { signingKeyOf } from './signing-key.js';
import { certifyPlan, type PlanPredicate } from './statement.js';

const vectors = JSON.parse(
  readFileSync(new URL('../../../../test/vectors/certificate.json', import.meta.url), 'utf8'),
) as { key: JsonWebKey; leaves: PlanLeaf[]; predicate: PlanPredicate };
const key = signingKeyOf(createPrivateKey({ key: vectors.key, format: 'jwk' }));
const leaves = Buffer.concat(vectors.leaves.map(planLeaf));
const certificate = certifyPlan(vectors.predicate, key);
const trusted = [key.publicKey];

function receiptOf(index: number): Receipt {
  return makeReceipt({ leaf: vectors.leaves[index]!, index, leaves, certificate }, trusted);
}

describe('receipts', () => {
  it('are built on leaves that lead to the certified root', () => {
    expect(merkleRoot(leaves)).toBe(vectors.predicate.tree.root);
  });

  it.each([...vectors.leaves.keys()])('prove leaf %i, also after a trip through JSON', (index) => {
    const verdict = checkReceipt(JSON.parse(JSON.stringify(receiptOf(index))), trusted);
    expect(verdict).toMatchObject({
      ok: true,
      kind: 'receipt',
      root: vectors.predicate.tree.root,
      key_id: key.key_id,
    });
    expect(verdict.checks.map((check) => check.name)).toEqual(['signature', 'certificate', 'path']);
  });

  const receipt = receiptOf(2);
  it.each<[string, Partial<Receipt>]>([
    ['another content id', { leaf: { ...receipt.leaf, cas: sha256('other') } }],
    ['no content id', { leaf: { ...receipt.leaf, cas: null } }],
    ['another executor', { leaf: { ...receipt.leaf, executor: 'docs_index' } }],
    ['another ordinal', { leaf: { ...receipt.leaf, ordinal: 3 } }],
    ['another output', { leaf: { ...receipt.leaf, output: sha256('other') } }],
    ['another stage', { leaf: { ...receipt.leaf, stage: 'unpack' } }],
    ['another status', { leaf: { ...receipt.leaf, status: 'failed' } }],
    ['another index', { index: 3 }],
    ['an index beyond the tree', { index: 5 }],
    ['another size', { size: 6 }],
    ['a shorter path', { path: receipt.path.slice(1) }],
    ['a longer path', { path: [...receipt.path, sha256('extra')] }],
    ...receipt.path.map((hash, i): [string, Partial<Receipt>] => [
      `another hash at ${i} of the path`,
      { path: receipt.path.with(i, sha256(hash)) },
    ]),
  ])('fail with %s', (_, change) => {
    expect(checkReceipt({ ...receipt, ...change }, trusted).ok).toBe(false);
  });

  it('fail with the certificate of another plan', () => {
    const root = sha256('another root');
    const other = certifyPlan({ ...vectors.predicate, tree: { root, size: 5 } }, key);
    const verdict = checkReceipt({ ...receipt, certificate: other }, trusted);
    expect(verdict.checks.at(-1)).toMatchObject({ name: 'path', ok: false });
  });

  it('fail with a certificate that another key signed', () => {
    const other = signingKeyOf(generateKeyPairSync('ed25519').privateKey);
    const forged = { ...receipt, certificate: certifyPlan(vectors.predicate, other) };
    expect(checkReceipt(forged, trusted)).toMatchObject({
      ok: false,
      checks: [{ name: 'signature', ok: false }],
    });
  });

  it.each([
    ['receipt.type', { type: 'hxo-receipt/v2' }],
    ['receipt.leaf', { leaf: null }],
    ['receipt.leaf.stage', { leaf: { ...receipt.leaf, stage: '\ud800' } }],
    ['receipt.leaf.status', { leaf: { ...receipt.leaf, status: 'won' } }],
    ['receipt.index', { index: '2' }],
    ['receipt.path[0]', { path: ['00'] }],
    ['certificate must be an object', { certificate: undefined }],
  ])('of another shape fail, naming %s', (name, change) => {
    const verdict = checkReceipt({ ...receipt, ...change }, trusted);
    expect(verdict.ok).toBe(false);
    expect(verdict.checks[0]!.detail).toContain(name);
  });
});

describe('makeReceipt', () => {
  const leaf = vectors.leaves[2]!;

  it('makes none for a shard that is not the one in the tree', () => {
    expect(() => makeReceipt({ leaf, index: 3, leaves, certificate }, trusted)).toThrow(ReceiptError);
  });

  it('makes none from leaves that were not certified', () => {
    const tampered = Buffer.from(leaves);
    tampered[0]! ^= 1;
    expect(() => makeReceipt({ leaf, index: 2, leaves: tampered, certificate }, trusted)).toThrow(
      'The store does not match its certificate',
    );
  });
});
