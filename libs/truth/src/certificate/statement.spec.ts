import { createPrivateKey, type JsonWebKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { canonicalJson } from '../canonical-json.js';
import { sha256 } from '../digest.js';
import { EnvelopeError, signEnvelope } from './dsse.js';
import { ShapeError } from './shape.js';
import { signerOf, signingKeyOf } from './signing-key.js';
import { certifyPlan, parseStatement, predicate_type, readCertificate, statement_type } from './statement.js';
import type { PlanPredicate } from './statement.js';

const vectors = JSON.parse(
  readFileSync(new URL('../../../../test/vectors/certificate.json', import.meta.url), 'utf8'),
) as { key: JsonWebKey; predicate: PlanPredicate };
const { predicate } = vectors;
const key = signingKeyOf(createPrivateKey({ key: vectors.key, format: 'jwk' }));
const [stage] = predicate.stages as [PlanPredicate['stages'][number]];

type Path = readonly (string | number)[];

/** Every path below a value, branches and leaves. */
function pathsOf(value: unknown, at: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, item]) => {
    const path = [...at, Array.isArray(value) ? Number(name) : name];
    return [path, ...pathsOf(item, path)];
  });
}

/** A deep copy with the value at a path replaced, or removed when it is undefined. */
function changed<T>(value: T, path: Path, to: unknown): T {
  const copy = structuredClone(value);
  const parents = path.slice(0, -1);
  const parent = parents.reduce<unknown>((at, name) => (at as Record<string, unknown>)[name], copy);
  (parent as Record<string, unknown>)[path.at(-1)!] = to;
  return copy;
}

function spell(path: Path): string {
  return path.map((name) => (typeof name === 'number' ? `[${name}]` : `.${name}`)).join('');
}

function statementOf(some: unknown): Buffer {
  const subject = [
    { name: 'plan-root', digest: { sha256: predicate.tree.root } },
    { name: 'pack/manifest.json', digest: { sha256: stage.artifacts[0]!.digest } },
  ];
  const statement = { _type: statement_type, subject, predicateType: predicate_type, predicate: some };
  return Buffer.from(canonicalJson(statement));
}

function fieldOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof ShapeError) return error.field;
    throw error;
  }
  return 'nothing was wrong';
}

describe('certifyPlan and readCertificate', () => {
  it('give back what was certified, and the key', () => {
    expect(readCertificate(certifyPlan(predicate, key), [key.publicKey])).toEqual({
      predicate,
      ...signerOf(key.publicKey),
    });
  });

  it('sign an in-toto statement on the root and on every artifact', () => {
    const { payload } = certifyPlan(predicate, key);
    expect(Buffer.from(payload, 'base64')).toEqual(statementOf(predicate));
  });

  it('verify before parsing', () => {
    const envelope = { ...certifyPlan(predicate, key), payload: Buffer.from('{').toString('base64') };
    expect(() => readCertificate(envelope, [key.publicKey])).toThrow(EnvelopeError);
  });

  it('leave out what the format does not know, signing and reading', () => {
    const more = { ...predicate, note: 'unknown' };
    expect(certifyPlan(more, key)).toEqual(certifyPlan(predicate, key));
    expect(parseStatement(statementOf(more))).toEqual(predicate);
  });

  it('certify a plan with nothing to do', () => {
    const none = { total: 0, done: 0, reused: 0, failed: 0, skipped: 0 };
    const empty: PlanPredicate = {
      ...predicate,
      counts: none,
      tree: { root: sha256('the leaf of the output'), size: 1 },
      stages: [{ ...stage, ...none, output: null, artifacts: [] }],
    };
    expect(readCertificate(certifyPlan(empty, key), [key.publicKey]).predicate).toEqual(empty);
  });

  it('certify a failure', () => {
    const some = { total: 4, done: 2, reused: 0, failed: 1, skipped: 1 };
    const failed: PlanPredicate = {
      ...predicate,
      phase: 'failed',
      counts: some,
      stages: [{ ...stage, ...some, output: null, artifacts: [] }],
    };
    expect(readCertificate(certifyPlan(failed, key), [key.publicKey]).predicate).toEqual(failed);
  });
});

describe('a predicate is refused, naming the field,', () => {
  const fields = pathsOf(predicate).filter((path) => typeof path.at(-1) === 'string');
  const statement = JSON.parse(statementOf(predicate).toString()) as object;
  const read = (some: PlanPredicate): PlanPredicate =>
    parseStatement(Buffer.from(JSON.stringify({ ...statement, predicate: some })));

  it.each(fields)('without %s', (...path) => {
    const missing = changed(predicate, path, undefined);
    expect(fieldOf(() => read(missing))).toBe(`statement.predicate${spell(path)}`);
    expect(fieldOf(() => certifyPlan(missing, key))).toBe(`predicate${spell(path)}`);
  });

  it.each(fields)('with another kind of %s', (...path) => {
    for (const wrong of [{}, [1], -1, 1.5, '\ud800']) {
      const field = fieldOf(() => read(changed(predicate, path, wrong)));
      expect(field.startsWith(`statement.predicate${spell(path)}`)).toBe(true);
    }
  });
});

describe('a certificate that does not add up is neither signed nor read', () => {
  it.each<[string, Path, unknown]>([
    ['predicate.counts.total', ['counts', 'total'], 5],
    ['predicate.counts.reused', ['counts', 'reused'], 5],
    ['predicate.counts.reused', ['counts', 'reused'], 2],
    ['predicate.stages[0].total', ['stages', 0, 'done'], 3],
    ['predicate.stages[0].reused', ['stages', 0, 'reused'], 5],
    ['predicate.tree.size', ['tree', 'size'], 4],
    ['predicate.tree.size', ['tree', 'size'], 6],
  ])('%s, when %p is %p', (field, path, value) => {
    const wrong = changed(predicate, path, value);
    expect(fieldOf(() => certifyPlan(wrong, key))).toBe(field);
    expect(fieldOf(() => parseStatement(statementOf(wrong)))).toBe(field);
  });

  it('predicate.phase, when it hides a failure', () => {
    const some = { total: 4, done: 3, reused: 0, failed: 1, skipped: 0 };
    const wrong = { ...predicate, counts: some, stages: [{ ...stage, ...some }] };
    expect(fieldOf(() => certifyPlan(wrong, key))).toBe('predicate.phase');
  });

  it('statement.subject, when an artifact is named that the predicate does not have', () => {
    const fewer = { ...predicate, stages: [{ ...stage, artifacts: [] }] };
    expect(fieldOf(() => parseStatement(statementOf(fewer)))).toBe('statement.subject');
  });
});

describe('a signed payload that is no plan certificate', () => {
  it.each([
    ['statement', '{'],
    ['statement', Buffer.from([0x7b, 0xff, 0x7d])],
    ['statement', '[]'],
    ['statement._type', '{"_type":"https://in-toto.io/Statement/v0.1"}'],
    ['statement.subject', `{"_type":"${statement_type}"}`],
    [
      'statement.predicateType',
      `{"_type":"${statement_type}","subject":[],"predicateType":"https://slsa.dev/provenance/v1"}`,
    ],
  ])('is refused, naming %s', (field, payload) => {
    const envelope = signEnvelope(Buffer.from(payload as string), key);
    expect(fieldOf(() => readCertificate(envelope, [key.publicKey]))).toBe(field);
  });
});
