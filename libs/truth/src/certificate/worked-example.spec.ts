import { createHash, createPrivateKey, createPublicKey, verify, type JsonWebKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { planLeaf, planLeafText, type PlanLeaf } from '../merkle/plan-leaf.js';
import { makeReceipt, type Receipt } from './receipt.js';
import { signerOf, signingKeyOf } from './signing-key.js';
import { certifyPlan, type PlanPredicate } from './statement.js';
import type { Envelope } from './dsse.js';
import { verifyDocument } from './verify-document.js';

/** docs/formats/certificate.md must show what this code does, and be enough to verify it without this code. */

function read(path: string): string {
  return readFileSync(new URL(`../../../../${path}`, import.meta.url), 'utf8');
}

const page = read('docs/formats/certificate.md');
const plan = JSON.parse(read('test/vectors/certificate.json')) as {
  key: JsonWebKey;
  leaves: PlanLeaf[];
  predicate: PlanPredicate;
};

/** The text of a fenced block, by the name after its language. */
function block(name: string): string {
  const found = new RegExp(`^\`\`\`\\w+ ${name}\\n(.*?)^\`\`\`$`, 'ms').exec(page);
  if (found === null) throw new Error(`docs/formats/certificate.md has no block named ${name}.`);
  return found[1]!;
}

const certificate = JSON.parse(block('certificate')) as Envelope;
const receipt = JSON.parse(block('receipt')) as Omit<Receipt, 'certificate'>;

describe('the worked example', () => {
  const key = signingKeyOf(createPrivateKey({ key: plan.key, format: 'jwk' }));
  const leaves = Buffer.concat(plan.leaves.map(planLeaf));

  it('is what the code produces', () => {
    expect(block('public-key')).toBe(key.publicKey.export({ type: 'spki', format: 'pem' }));
    expect(page).toContain(signerOf(key.publicKey).public_key);
    expect(page).toContain(signerOf(key.publicKey).key_id);
    expect(block('leaf').trim()).toBe(planLeafText(plan.leaves[2]!));
    expect(block('leaf-hashes').trim().split('\n')).toEqual(
      plan.leaves.map((leaf) => planLeaf(leaf).toString('hex')),
    );
    expect(certificate).toEqual(certifyPlan(plan.predicate, key));
    expect({ ...receipt, certificate }).toEqual(
      makeReceipt({ leaf: plan.leaves[2]!, index: 2, leaves, certificate }, [key.publicKey]),
    );
  });

  it('passes hxo verify', () => {
    const trusted = [createPublicKey(block('public-key'))];
    expect(verifyDocument(block('certificate'), trusted).ok).toBe(true);
    expect(verifyDocument(JSON.stringify({ ...receipt, certificate }), trusted).ok).toBe(true);
  });
});

describe('the page alone', () => {
  const statement = Buffer.from(certificate.payload, 'base64');
  const root = (JSON.parse(block('statement')) as { predicate: PlanPredicate }).predicate.tree.root;

  function sha256Hex(prefix: string, bytes: Buffer): string {
    return createHash('sha256').update(prefix).update(bytes).digest('hex');
  }

  it('is enough to verify the signature', () => {
    const signed = Buffer.concat([
      Buffer.from(`DSSEv1 28 application/vnd.in-toto+json ${statement.length} `),
      statement,
    ]);
    const signature = Buffer.from(certificate.signatures[0]!.sig, 'base64');
    expect(verify(null, signed, createPublicKey(block('public-key')), signature)).toBe(true);
    expect(JSON.parse(statement.toString())).toEqual(JSON.parse(block('statement')));
  });

  it('is enough to follow the receipt to the root', () => {
    const node = (left: string, right: string): string => sha256Hex('\x01', Buffer.from(left + right, 'hex'));
    const [right, left, lone] = receipt.path as readonly string[] as readonly [string, string, string];
    const leaf = sha256Hex('\0', Buffer.from(block('leaf').trim()));
    expect(node(node(left, node(leaf, right)), lone)).toBe(root);

    const [h0, h1, h2, h3, h4] = block('leaf-hashes').trim().split('\n') as [
      string,
      string,
      string,
      string,
      string,
    ];
    expect(node(node(node(h0, h1), node(h2, h3)), h4)).toBe(root);
  });
});
