import fc from 'fast-check';
import { json_depth_max, parseStrictJson, StrictJsonError } from './strict-json.js';

function faultOf(text: string): StrictJsonError {
  try {
    parseStrictJson(text);
  } catch (error) {
    if (error instanceof StrictJsonError) return error;
    throw error;
  }
  throw new Error(`${text} was taken.`);
}

const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
const harmless = (text: string) => !text.includes('\0') && text.isWellFormed();

describe('parseStrictJson', () => {
  it('reads what JSON.stringify writes, indented or not', () => {
    const value = fc.jsonValue({ maxDepth: 6, stringUnit: 'binary' });
    fc.assert(
      fc.property(value, fc.constantFrom(0, 1, '\t'), (written, indent) => {
        const text = JSON.stringify(written, null, indent);
        fc.pre(harmless(JSON.stringify(written)) && !/\\u0000|__proto__|constructor|prototype/.test(text));
        expect(parseStrictJson(text)).toEqual(JSON.parse(text));
      }),
    );
  });

  it('takes no text that JSON.parse refuses, and gives the same value for those that both take', () => {
    // Texts of JSON's own characters come close to being JSON often enough.
    const unit = fc.constantFrom(
      ...'[]{}:,"\\/ \n-+.0123eEtruefalsn',
      'true',
      'null',
      '"a"',
      '\\u00',
      '"k":',
    );
    let taken = 0;
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 12 }), (text) => {
        let ours: unknown;
        try {
          ours = parseStrictJson(text);
        } catch (error) {
          expect(error).toBeInstanceOf(StrictJsonError);
          return;
        }
        taken += 1;
        expect(ours).toEqual(JSON.parse(text));
      }),
      { numRuns: 5_000, seed: 20251011 },
    );
    expect(taken).toBeGreaterThan(100);
  });

  it.each([
    ['', 'at position 0 (line 1) there is the end where a value'],
    ['{"a":}', 'at position 5 (line 1) there is "}" where a value'],
    ['{"a":1,}', 'at position 7'],
    ['[1,]', 'at position 3'],
    ['{\n "a" 1}', 'at position 7 (line 2) there is "1" where \':\''],
    ['{a:1}', 'at position 1 (line 1) there is "a" where a key in double quotes'],
    ['[1 2]', 'at position 3'],
    ['{} x', 'at position 3'],
    ['"abc', 'at position 0'],
    ['"\\x"', 'at position 0'],
    ['"\n"', 'at position 0'],
    ['01', 'at position 1'],
    ['nul', 'at position 0'],
    ['NaN', 'at position 0'],
    ['// no', 'at position 0'],
  ])('says where %j is not JSON', (text, where) => expect(faultOf(text).message).toContain(where));

  it.each([
    ['{"name":"a","name":"b"}', 'name'],
    ['{"a":{"b":1,"\\u0062":2}}', 'a.b'],
    ['{"stages":[{},{"__proto__":{"polluted":true}}]}', 'stages[1].__proto__'],
    ['{"__pro\\u0074o__":1}', '__proto__'],
    ['{"constructor":{"prototype":{}}}', 'constructor'],
    ['{"config":{"prototype":1}}', 'config.prototype'],
    ['{"name":"a\\u0000b"}', 'name'],
    ['{"stages":["\\ud800"]}', 'stages[0]'],
    ['{"n":1e999}', 'n'],
    ['{"a":"\\udc00x"}', 'a'],
  ])('refuses %s, naming the field', (text, field) => {
    expect(faultOf(text).errors.map((error) => error.field)).toEqual([field]);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  it('counts nesting, and is not led to the end of the stack', () => {
    expect(parseStrictJson(nested(json_depth_max))).toBeDefined();
    expect(faultOf(nested(json_depth_max + 1)).message).toContain('deeper than 32');
    expect(faultOf('['.repeat(1_000_000)).message).toContain('deeper than 32');
    expect(faultOf('{"a":'.repeat(200_000)).message).toContain('deeper than 32');
  });

  it('takes any text where rules say so, but no key twice, and pollutes nothing', () => {
    const rules = { subject: 'The text', depth_max: 40, any_text: true };
    const text = '{"__proto__":{"polluted":true},"constructor":"\\u0000\\ud800"}';
    expect(JSON.stringify(parseStrictJson(text, rules))).toBe(JSON.stringify(JSON.parse(text)));
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    expect(() => parseStrictJson('{"__proto__":1,"__proto__":2}', rules)).toThrow('is given twice');
    expect(parseStrictJson(nested(40), rules)).toBeDefined();
    expect(() => parseStrictJson(nested(41), rules)).toThrow('deeper than 40');
  });

  it('repeats no more of a long name than needed', () => {
    expect(faultOf(`{"${'k'.repeat(10_000)}":"\\u0000"}`).message.length).toBeLessThan(300);
  });
});
