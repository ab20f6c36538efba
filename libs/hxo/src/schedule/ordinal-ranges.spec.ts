import fc from 'fast-check';
import { parseRanges, printRanges } from './ordinal-ranges.js';

const ordinalSets = fc.uniqueArray(fc.nat(2_000), { maxLength: 300 }).map((set) => set.sort((a, b) => a - b));

describe('ordinal ranges', () => {
  it.each([
    [[], ''],
    [[7], '7'],
    [[0, 1], '0-1'],
    [[0, 1, 2, 5, 8, 9], '0-2,5,8-9'],
  ])('prints %j as %j', (ordinals, text) => {
    expect(printRanges(ordinals)).toBe(text);
    expect(parseRanges(text)).toEqual(ordinals);
  });

  it('reads back what it printed', () => {
    fc.assert(fc.property(ordinalSets, (set) => expect(parseRanges(printRanges(set))).toEqual(set)));
  });

  it('prints as few ranges as there are runs', () => {
    fc.assert(
      fc.property(ordinalSets, (set) => {
        const runs = set.filter((ordinal, i) => i === 0 || ordinal !== set[i - 1]! + 1).length;
        expect(printRanges(set).split(',').filter(Boolean)).toHaveLength(runs);
      }),
    );
  });
});
