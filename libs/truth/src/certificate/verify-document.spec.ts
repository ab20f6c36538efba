import { createPrivateKey, generateKeyPairSync, type JsonWebKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { sha256 } from '../digest.js';
import { planLeaf, type PlanLeaf } from '../merkle/plan-leaf.js';
import { makeReceipt } from './receipt.js';
import { signerOf, signingKeyOf } from './signing-key.js';
import { certifyPlan, type PlanPredicate } from './statement.js';
import { verifyDocument } from './verify-document.js';

const vectors = JSON.parse(
  readFileSync(new URL('../../../../test/vectors/certificate.json', import.meta.url), 'utf8'),
) as { key: JsonWebKey; leaves: PlanLeaf[]; predicate: PlanPredicate };
const { predicate } = vectors;
const key = signingKeyOf(createPrivateKey({ key: vectors.key, format: 'jwk' }));
const otherKey = signingKeyOf(generateKeyPairSync('ed25519').privateKey);
const trusted = [key.publicKey];
const certificate = certifyPlan(predicate, key);
const leaves = Buffer.concat(vectors.leaves.map(planLeaf));
const receipt = makeReceipt({ leaf: vectors.leaves[0]!, index: 0, leaves, certificate }, trusted);

const counts = {
  total_shards: 4,
  pending_shards: 0,
  claimed_shards: 0,
  running_shards: 0,
  done_shards: 4,
  failed_shards: 0,
  reused_shards: 1,
  skipped_shards: 0,
  retrying_shards: 0,
};
const [stage] = predicate.stages as [PlanPredicate['stages'][number]];

/** The report of the plan, as the API gives it. */
const report = {
  plan_id: predicate.plan_id,
  plan_name: predicate.plan_name,
  phase: 'succeeded',
  revision: 1,
  ...counts,
  total_final: true,
  merkle_root: predicate.tree.root,
  truth_certified: true,
  submitted_at: '2025-10-11T19:59:59Z',
  started_at: predicate.started_at,
  finished_at: predicate.finished_at,
  eta_seconds: 0,
  waiting_for: null,
  error: null,
  stages: [
    {
      id: 'pack',
      kind: 'deploy.pack',
      partitioner: 'by_filesize',
      executor: 'pack_backend',
      executor_version: '1',
      scheduler: 'fair_round_robin',
      phase: 'done',
      ...counts,
      total_final: true,
      matched: 120,
      taken: 100,
      truncated: 20,
      slo_ms: 120000,
      dependencies: [],
      started_at: predicate.started_at,
      finished_at: predicate.finished_at,
      output: stage.output,
    },
  ],
  final: true,
  slo: [],
  reuse: { reused: 1, executed: 3, misses: { changed: 3 }, stages: [] },
  failures: [],
  outputs: [{ stage: 'pack', digest: stage.output, value: { files: 100 }, artifacts: stage.artifacts }],
  notes: [],
  certificate,
  signer: signerOf(key.publicKey),
};

function verdictOn(document: unknown, keys = trusted): ReturnType<typeof verifyDocument> {
  return verifyDocument(JSON.stringify(document), keys);
}

describe('verifyDocument', () => {
  it.each([
    ['report', report],
    ['certificate', certificate],
    ['receipt', receipt],
  ])('accepts a true %s, and only with the key that signed it', (kind, document) => {
    const { plan_id, tree } = predicate;
    expect(verdictOn(document)).toMatchObject({
      ok: true,
      kind,
      plan_id,
      root: tree.root,
      key_id: key.key_id,
    });
    expect(verdictOn(document, [otherKey.publicKey, key.publicKey]).ok).toBe(true);
    for (const keys of [[], [otherKey.publicKey]]) {
      const verdict = verdictOn(document, keys);
      expect(verdict).toEqual({
        ok: false,
        kind,
        checks: [{ name: 'signature', ok: false, detail: expect.any(String) as string }],
      });
    }
  });

  it('says what was checked before signing, and what was truncated', () => {
    const detail = verdictOn(certificate).checks.find((check) => check.name === 'certificate')!.detail;
    expect(detail).toContain(predicate.verification.statement);
    expect(detail).toContain('20 items truncated');
  });

  it('accepts a byte order mark and white space', () => {
    expect(verifyDocument(`\ufeff\n${JSON.stringify(report, null, 2)}\n`, trusted).ok).toBe(true);
  });
});

describe('a certificate', () => {
  it('fails for every flipped byte of its payload and signature', () => {
    const { payload, signatures } = certificate;
    const flip = (base64: string, at: number): string => {
      const bytes = Buffer.from(base64, 'base64');
      bytes[at]! ^= 0x01;
      return bytes.toString('base64');
    };
    const forgeries = [
      ...Array.from(Buffer.from(payload, 'base64').keys(), (at) => ({
        ...certificate,
        payload: flip(payload, at),
      })),
      ...Array.from({ length: 64 }, (_, at) => {
        return { ...certificate, signatures: [{ ...signatures[0], sig: flip(signatures[0]!.sig, at) }] };
      }),
    ];
    expect(forgeries.filter((forgery) => verdictOn(forgery).ok)).toEqual([]);
  });

  it('fails when re-signed with another key, even under the old key id', () => {
    const changed: PlanPredicate = { ...predicate, plan_name: 'another' };
    const verdict = verdictOn(certifyPlan(changed, { ...otherKey, key_id: key.key_id }));
    expect(verdict.ok).toBe(false);
    expect(verdict.plan_id).toBeUndefined();
    expect(verdict.checks[0]!.detail).toContain(key.key_id);
  });
});

describe('a report', () => {
  it.each<[string, object]>([
    ['plan_id', { plan_id: 'another' }],
    ['plan_name', { plan_name: 'another' }],
    ['phase', { phase: 'failed' }],
    ['revision', { revision: 2 }],
    ['merkle_root', { merkle_root: sha256('other') }],
    ['truth_certified', { truth_certified: false }],
    ['final', { final: false }],
    ['started_at', { started_at: '2025-10-11T20:00:01Z' }],
    ['finished_at', { finished_at: null }],
    ...Object.entries(counts).flatMap(([name, count]): [string, object][] => [
      [name, { [name]: count + 1 }],
      [`stages[0].${name}`, { stages: [{ ...report.stages[0], [name]: count + 1 }] }],
    ]),
    ...[
      'id',
      'kind',
      'partitioner',
      'executor',
      'executor_version',
      'matched',
      'taken',
      'truncated',
      'output',
    ].map((name): [string, object] => [
      `stages[0].${name}`,
      { stages: [{ ...report.stages[0], [name]: 7 }] },
    ]),
    ['stages[0].truncated', { stages: [{ ...report.stages[0], truncated: undefined }] }],
    ['stages', { stages: [...report.stages, ...report.stages] }],
    ['stages', { stages: undefined }],
    ['reuse.reused', { reuse: { ...report.reuse, reused: 4 } }],
    ['outputs', { outputs: [] }],
    ['outputs[0].digest', { outputs: [{ ...report.outputs[0], digest: sha256('other') }] }],
    [
      'outputs[0].artifacts[0].bytes',
      { outputs: [{ ...report.outputs[0], artifacts: [{ ...stage.artifacts[0], bytes: 1 }] }] },
    ],
    [
      'outputs[0].artifacts[0].digest',
      { outputs: [{ ...report.outputs[0], artifacts: [{ ...stage.artifacts[0], digest: sha256('') }] }] },
    ],
    ['signer.key_id', { signer: { ...report.signer, key_id: otherKey.key_id } }],
  ])('with another %s fails, naming it', (field, change) => {
    const failed = verdictOn({ ...report, ...change }).checks.filter((check) => !check.ok);
    expect(failed.map((check) => check.name)).toEqual([field]);
    expect(failed[0]!.detail).toMatch(/^\S+ is .+ in the report and .+ in the certificate\.$/);
  });

  it('has every disagreement named', () => {
    const verdict = verdictOn({ ...report, phase: 'failed', done_shards: 3, failed_shards: 1 });
    expect(verdict.checks.filter((check) => !check.ok).map((check) => check.name)).toEqual(
      expect.arrayContaining(['phase', 'done_shards', 'failed_shards']),
    );
  });

  it('with a public key that is not the signer’s fails', () => {
    const { public_key } = signerOf(otherKey.publicKey);
    const failed = verdictOn({ ...report, signer: { ...report.signer, public_key } }).checks.filter(
      (one) => !one.ok,
    );
    expect(failed.map((check) => check.name)).toEqual(['signer.public_key']);
  });

  it('without certificate fails and says why', () => {
    expect(verdictOn({ ...report, certificate: null }).checks[0]!.detail).toContain(
      'ended without a certificate',
    );
    expect(verdictOn({ ...report, certificate: null, final: false }).checks[0]!.detail).toContain(
      'has not ended',
    );
  });
});

describe('anything else', () => {
  it.each([
    ['', 'not JSON'],
    ['{', 'not JSON'],
    ['['.repeat(100_000), 'not JSON'],
    ['null', 'no report'],
    ['[]', 'no report'],
    ['{"plan_id":"x"}', 'no report'],
    ['{"type":"hxo-receipt/v2"}', 'receipt.type must be "hxo-receipt/v1"'],
    ['{"payload":1,"signatures":[]}', 'certificate.payloadType must be'],
    ['{"plan_id":"x","certificate":{}}', 'certificate.payloadType must be'],
    ['{"__proto__":{"payload":"","signatures":[]}}', 'no report'],
  ])('fails with a clear word: %s', (text, word) => {
    const verdict = verifyDocument(text, trusted);
    expect(verdict.ok).toBe(false);
    expect(verdict.checks[0]!.detail).toContain(word);
  });

  it('never throws, whatever part of a document is replaced by whatever JSON', () => {
    const documents = [report, certificate, receipt] as unknown as Record<string, unknown>[];
    const strange = fc.jsonValue({ stringUnit: 'binary' });
    fc.assert(
      fc.property(fc.constantFrom(...documents), fc.nat(), strange, (document, at, value) => {
        const names = Object.keys(document);
        const changed = { ...document, [names[at % names.length]!]: value };
        expect(typeof verdictOn(changed).ok).toBe('boolean');
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ['before the true value', /^\{/, '{"done_shards":999,'],
    ['deep inside', /"status":/, '"status":"failed","status":'],
  ])('fails for a key that is given twice, naming it: %s', (_, at, twice) => {
    const texts = [report, receipt].map((document) => JSON.stringify(document));
    const text = texts.find((each) => at.test(each) && verifyDocument(each, trusted).ok)!;
    const verdict = verifyDocument(text.replace(at, twice), trusted);
    expect(verdict).toMatchObject({ ok: false });
    expect(verdict.checks[0]!.detail).toMatch(/(done_shards|leaf\.status) is given twice/);
  });

  it('takes what executors may have returned: names of prototypes, NUL, deep values', () => {
    const value = `{"__proto__":{"constructor":"\\u0000\\ud800"},"deep":${'['.repeat(100)}${']'.repeat(100)}}`;
    const outputs = report.outputs.map((output) => ({ ...output, value: 'VALUE' }));
    const text = JSON.stringify({ ...report, outputs }).replaceAll('"VALUE"', value);
    expect(verifyDocument(text, trusted)).toMatchObject({ ok: true, kind: 'report' });
  });

  it('does not follow a document to the end of its stack', () => {
    const nested = '['.repeat(100_000) + ']'.repeat(100_000);
    for (const document of [report, certificate, receipt]) {
      for (const name of Object.keys(document)) {
        const text = JSON.stringify({ ...document, [name]: 'NESTED' }).replace('"NESTED"', nested);
        expect(typeof verifyDocument(text, trusted).ok).toBe('boolean');
      }
    }
  });
});
