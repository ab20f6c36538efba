import fc from 'fast-check';
import { canonicalJson, sha256, type Digest } from '#truth';
import {
  checkReports,
  checkedCollection,
  code_chars_max,
  message_chars_max,
  value_bytes_max,
} from './check-outcome.js';

const stored = sha256('stored');
const artifacts = { size: async (digest: Digest) => (digest === stored ? 7 : null) };
const leased = new Set([0, 1]);

/** The codes of the outcomes that a report comes to, `done` for those that are. */
async function codesOf(text: string): Promise<string[]> {
  const { outcomes } = await checkReports([text], leased, artifacts);
  return outcomes.map((outcome) => (outcome.status === 'done' ? 'done' : outcome.code));
}

it('takes what is as it should be', async () => {
  const ref = JSON.stringify([{ digest: stored, bytes: 7 }]);
  expect(await codesOf(`0\t1\tdone\t${stored}\t${ref}\t{}\n1\t1\tretry\t["CODE","message"]\n`)).toEqual([
    'done',
    'CODE',
  ]);
});

it.each([
  ['an artifact that is not there', `[{"digest":"${sha256('none')}","bytes":7}]\t{}`],
  ['an artifact of another size', `[{"digest":"${stored}","bytes":8}]\t{}`],
  ['an artifact whose digest is none', `[{"digest":"${'x'.repeat(5_000)}","bytes":8}]\t{}`],
  ['a value that is not JSON', '\tnonsense'],
  ['an empty value', '\t'],
  ['a value that is too long', `\t"${'x'.repeat(value_bytes_max)}"`],
])('rejects %s, and nothing else of the report', async (_, end) => {
  const { outcomes, rejections } = await checkReports(
    [`0\t1\tdone\t\t${end}\n1\t1\tdone\t\t\t{}\n`],
    leased,
    artifacts,
  );
  expect(outcomes).toMatchObject([
    { ordinal: 0, verdict: 'retry', code: 'RESULT_REJECTED' },
    { ordinal: 1, status: 'done' },
  ]);
  expect(rejections).toMatchObject([{ ordinal: 0 }]);
  expect(rejections[0]!.message.length).toBeLessThan(200);
});

it('takes as a value what JSON.parse reads, and nothing else', async () => {
  // Texts of pieces that values are made of: some are JSON, plain or not, most nearly are.
  const pieces = [
    '{',
    '}',
    ':',
    ',',
    '"a"',
    '"\\\\n"',
    '"',
    '\\',
    '\u0001',
    '-',
    '0',
    '12',
    '1.5',
    'true',
    'null',
    '[',
    ']',
    ' ',
  ];
  const plain = fc.dictionary(
    fc.string(),
    fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null)),
  );
  const near = fc.array(fc.constantFrom(...pieces), { maxLength: 9 }).map((parts) => parts.join(''));
  const value = fc.oneof(
    near,
    plain.map((object) => JSON.stringify(object)),
  );
  const check = async (text: string): Promise<void> => {
    let expected = 'done';
    try {
      JSON.parse(text);
    } catch {
      expected = 'RESULT_REJECTED';
    }
    expect(await codesOf(`0\t1\tdone\t\t\t${text}\n`)).toEqual([expected]);
  };
  await fc.assert(fc.asyncProperty(value, check), { numRuns: 2_000 });
});

it.each([
  ['code', 'C'.repeat(code_chars_max), 'C'.repeat(100_000), ''],
  ['message', '', 'CODE', 'm'.repeat(200_000)],
  ['message', '', 'CODE', 'm'.repeat(message_chars_max + 1)],
  ['text', '', 'CODE', '\ud800'],
])('rejects a failure whose %s is none', async (_, fine, code, message) => {
  const line = (failure: readonly string[]): string => `0\t1\tfail\t${JSON.stringify(failure)}\n`;
  expect(await codesOf(line([fine, 'm'.repeat(message_chars_max)]))).toEqual([fine]);
  expect(await codesOf(line([code, message]))).toEqual(['RESULT_REJECTED']);
});

it('fails the lease whose report cannot be read, and never throws, whatever the text says', async () => {
  expect(await codesOf('nonsense')).toEqual(['RESULT_REJECTED', 'RESULT_REJECTED']);
  expect(await checkReports(['nonsense'], new Set(), artifacts)).toEqual({ outcomes: [], rejections: [] });
  const number = fc.constantFrom('', '0', '1', '-1', '1.5', '1e400', '9'.repeat(30));
  const json = fc.jsonValue().map((value) => JSON.stringify(value));
  const field = fc.oneof(json, fc.string(), fc.constantFrom('', 'null', '[null]', '{"length":1}', stored));
  const line = fc
    .tuple(
      number,
      number,
      fc.constantFrom('done', 'retry', 'fail', 'halt', '?'),
      fc.array(field, { maxLength: 4 }),
    )
    .map(([ordinal, us, status, rest]) => `${[ordinal, us, status, ...rest].join('\t')}\n`);
  const text = fc.oneof(
    fc.string(),
    line,
    fc.array(line, { maxLength: 3 }).map((lines) => lines.join('')),
  );
  await fc.assert(
    fc.asyncProperty(text, async (report) => {
      const { outcomes } = await checkReports([report], leased, artifacts);
      for (const { ordinal } of outcomes) expect(leased.has(ordinal)).toBe(true);
    }),
    { numRuns: 1_000 },
  );
});

it.each([
  ['names its shard', '1\t1\tdone\t\t[\t{}\n'],
  ['is cut off in the middle of an ordinal', '1\t1\tdone\t\t\t{}\n4'],
  ['names its shard and one of somebody else', '1\t1\n9\t1\n'],
])('fails only the shards of a report that cannot be read and %s', async (_, unreadable) => {
  const lease = new Set([0, 1, 2, 3, 4]);
  const fine = (ordinal: number): string => `${ordinal}\t1\tdone\t\t\t{}\n`;
  const { outcomes, rejections } = await checkReports([fine(0), unreadable, fine(2)], lease, artifacts);
  expect(outcomes).toMatchObject([
    { ordinal: 0, status: 'done' },
    { ordinal: 2, status: 'done' },
    { ordinal: 1, status: 'failed', code: 'RESULT_REJECTED' },
  ]);
  expect(rejections).toMatchObject([{ ordinal: 1 }]);
});

it.each([
  [
    'in another order',
    (text: string) => text.replace(/^(\{"artifacts":\[\]),(.*)\}$/, '{$2,"artifacts":[]}'),
  ],
  ['with a lone surrogate', (text: string) => text.replace('"value":1', '"value":"\\ud800"')],
])("rejects a collector's output that is not canonical JSON: %s", async (_, spoil) => {
  const value = canonicalJson({ digest: stored, value: 1, artifacts: [] });
  const line = (text: string): string => `0\t1\tdone\t${stored}\t\t${text}\n`;
  expect(spoil(value)).not.toBe(value);
  expect(await checkedCollection([line(value)], artifacts)).toMatchObject({ status: 'done' });
  expect(await checkedCollection([line(spoil(value))], artifacts)).toMatchObject({ code: 'RESULT_REJECTED' });
});
