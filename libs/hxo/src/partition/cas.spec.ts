import fc from 'fast-check';
import { canonicalJson, sha256, type Json } from '#truth';
import { casHasher, casId, type ShardContent } from './cas.js';

const digests = fc.array(fc.string().map(sha256), { maxLength: 3 });
const contents: fc.Arbitrary<ShardContent> = fc.record({
  kind: fc.string({ unit: 'grapheme' }),
  executor: fc.string({ unit: 'grapheme' }),
  executor_version: fc.string(),
  dependency_digests: digests,
  inputs: fc.jsonValue({ stringUnit: 'grapheme' }) as fc.Arbitrary<Json>,
  input_digests: digests,
});

/** The formula as it is documented. */
const documented = (content: ShardContent): string => sha256(canonicalJson({ v: 1, ...content }));

describe('content ids', () => {
  it('are the SHA-256 of the canonical JSON of all that a result hangs on', () => {
    fc.assert(
      fc.property(contents, (content) => {
        expect(casId(content)).toBe(documented(content));
        const { inputs, input_digests } = content;
        expect(casHasher(content)(canonicalJson(inputs), input_digests)).toBe(documented(content));
      }),
    );
  });

  it('differ when any part differs', () => {
    const part = fc.constantFrom<(keyof ShardContent)[]>(
      ...(['kind', 'executor', 'executor_version', 'dependency_digests', 'inputs', 'input_digests'] as const),
    );
    fc.assert(
      fc.property(contents, contents, part, (one, other, name) => {
        fc.pre(canonicalJson(one[name]) !== canonicalJson(other[name]));
        expect(casId({ ...one, [name]: other[name] })).not.toBe(casId(one));
      }),
    );
  });

  it('tell the order of digests, and not that of keys', () => {
    const [a, b] = [sha256('a'), sha256('b')];
    const content = { kind: 'k', executor: 'e', executor_version: '1', dependency_digests: [] };
    const id = casId({ ...content, inputs: { x: 1, y: 2 }, input_digests: [a, b] });
    expect(casId({ ...content, inputs: { y: 2, x: 1 }, input_digests: [a, b] })).toBe(id);
    expect(casId({ ...content, inputs: { x: 1, y: 2 }, input_digests: [b, a] })).not.toBe(id);
  });

  it('are those that are stored already', () => {
    const content = {
      kind: 'deploy.pack',
      executor: 'pack_backend',
      executor_version: '1',
      dependency_digests: [],
    };
    const text =
      '{"dependency_digests":[],"executor":"pack_backend","executor_version":"1","input_digests":[],' +
      '"inputs":{"root":"."},"kind":"deploy.pack","v":1}';
    expect(casId({ ...content, inputs: { root: '.' }, input_digests: [] })).toBe(sha256(text));
  });
});
