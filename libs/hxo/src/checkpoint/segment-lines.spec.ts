import fc from 'fast-check';
import { canonicalJson, sha256 } from '#truth';
import { parseShardLines, printShardLine, type ShardLine } from './segment-lines.js';

const shardLines: fc.Arbitrary<ShardLine> = fc.record({
  weight: fc.nat(),
  input_digests: fc.array(fc.string().map(sha256), { maxLength: 4 }),
  // Any text at all inside the JSON, tabs and line feeds included.
  inputs: fc.jsonValue({ stringUnit: 'grapheme' }).map(canonicalJson),
});

describe('segment lines', () => {
  it('come back as they were printed', () => {
    fc.assert(
      fc.property(fc.array(shardLines, { maxLength: 20 }), (shards) => {
        expect(parseShardLines(shards.map(printShardLine).join(''))).toEqual(shards);
      }),
    );
  });

  it('stand one a line, whatever their inputs hold', () => {
    const inputs = canonicalJson({ path: 'a\tb\nc\r\u2028', list: ['\n', '\t'] });
    const line = printShardLine({ weight: 7, input_digests: [], inputs });
    expect(line.split('\n')).toHaveLength(2);
    expect(line.split('\t')).toHaveLength(3);
  });

  it.each(['1\tabc\n', '1\n', `1\t${'g'.repeat(64)}\t{}\n`, `1\t${'a'.repeat(65)}\t{}\n`])(
    'refuse a damaged line: %j',
    (line) => {
      expect(() => parseShardLines(line)).toThrow();
    },
  );
});
