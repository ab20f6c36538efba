import fc from 'fast-check';
import { canonicalJson, sha256, type Json } from '#truth';
import { parseOutcomes, printOutcomes } from './outcome-lines.js';
import type { Outcome } from './transport.js';

const base = { ordinal: fc.nat(2 ** 31), duration_ms: fc.nat(1e9).map((us) => us / 1_000) };
const digest = fc.string().map((text) => sha256(text));
const artifact = fc.record({ digest, bytes: fc.nat() });

const outcome: fc.Arbitrary<Outcome> = fc.oneof(
  fc.record({
    ...base,
    status: fc.constant('done' as const),
    digest: fc.option(digest),
    value: fc.jsonValue().map((value) => canonicalJson(value as Json)),
    artifacts: fc.array(artifact, { maxLength: 3 }),
  }),
  fc.record({
    ...base,
    status: fc.constant('failed' as const),
    verdict: fc.constantFrom('retry' as const, 'fail' as const, 'halt' as const),
    code: fc.string(),
    message: fc.oneof(fc.string(), fc.constant('a\ttab, a\nline')),
  }),
);

it('reads what it prints', () => {
  fc.assert(
    fc.property(fc.array(outcome, { maxLength: 8 }), (outcomes) =>
      expect(parseOutcomes(printOutcomes(outcomes))).toEqual(outcomes),
    ),
  );
});

it.each<readonly [string, string]>([
  ['cut off', '0\t1\tdone\t\t\t{}'],
  ['no fields', 'nonsense\n'],
  ['no ordinal', 'x\t1\tdone\t\t\t{}\n'],
  ['an ordinal that is no whole number', '1.5\t1\tdone\t\t\t{}\n'],
  ['an empty ordinal', '\t1\tdone\t\t\t{}\n'],
  ['an empty duration', '0\t\tdone\t\t\t{}\n'],
  ['a negative ordinal', '-1\t1\tdone\t\t\t{}\n'],
  ['a negative duration', '0\t-1\tdone\t\t\t{}\n'],
  ['an ordinal in hex', '0x1\t1\tdone\t\t\t{}\n'],
  ['an ordinal beyond safe integers', `${'9'.repeat(20)}\t1\tdone\t\t\t{}\n`],
  ['too few fields', '0\t1\tdone\t\t\n'],
  ['too many fields', '0\t1\tdone\t\t\t{}\t{}\n'],
  ['an unknown status', '0\t1\tperhaps\t\t\t{}\n'],
  ['artifacts that are not JSON', '0\t1\tdone\t\t[\t{}\n'],
  ...[
    'null',
    '[null]',
    '{"length":1}',
    '[{"digest":"d","bytes":-1}]',
    '[{"digest":"d","bytes":1,"name":"n"}]',
  ].map((artifacts) => [`artifacts ${artifacts}`, `0\t1\tdone\t\t${artifacts}\t{}\n`] as const),
  ['a failure that is a text', '0\t1\tretry\t"ab"\n'],
  ['a failure of three', '0\t1\tretry\t["CODE","message","more"]\n'],
  ['a failure that is null', '0\t1\tretry\tnull\n'],
  ['a failure without message', '0\t1\tretry\t["CODE"]\n'],
  ['JSON of another kind', '[{"ordinal":0}]'],
])('refuses a text with %s', (_, text) => expect(() => parseOutcomes(text)).toThrow(SyntaxError));
