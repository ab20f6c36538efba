import fc from 'fast-check';
import { mergeTerms, type TermSource } from './merge-terms.js';

it('gives each term once, sorted, with the part of every source that has it', () => {
  const terms = fc.uniqueArray(fc.oneof(fc.constantFrom('a', 'b', 'ab', '\u{1f600}', '\uffff'), fc.string()));
  fc.assert(
    fc.property(fc.array(terms, { maxLength: 9 }), (lists) => {
      const merged = [...mergeTerms(lists.map(sourceOf))];
      expect(merged.map(([term]) => term)).toEqual([...new Set(lists.flat())].sort());
      for (const [term, parts] of merged) {
        const holders = [...lists.keys()].filter((i) => lists[i]!.includes(term));
        expect(parts.map(({ segment }) => segment).sort()).toEqual(holders);
        expect(parts.every((part) => part.term === term && part.postings[0]![0] === part.segment)).toBe(true);
      }
    }),
  );
});

function sourceOf(terms: readonly string[], segment: number): TermSource {
  const left = [...terms].sort().map((term) => ({ term, postings: [[segment]] }));
  return { nextTerm: () => left.shift() ?? null };
}
