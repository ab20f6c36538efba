import fc from 'fast-check';
import { snippetOf } from './snippet.js';
import { placesOfTerms } from './terms.js';

const words = (count: number): string => Array.from({ length: count }, (_, i) => `word${i}`).join(' ');

it('shows the beginning when nothing is found in the text', () => {
  expect(snippetOf('Short text.', new Set(['other']))).toEqual({ snippet: 'Short text.', matches: [] });
  const { snippet } = snippetOf(words(100), new Set());
  expect(snippet.startsWith('word0 word1 ')).toBe(true);
  expect(snippet).toMatch(/ word\d+ …$/);
  expect(snippet.length).toBeLessThan(210);
});

it('shows the first match with words around it, and where all matches stand', () => {
  const { snippet, matches } = snippetOf(`${words(50)}\nFound it, found!\n${words(50)}`, new Set(['found']));
  expect(snippet).toMatch(/^… word\d+ .* word49 Found it, found! word0 .* …$/);
  expect(matches.map(([at, length]) => snippet.slice(at, at + length))).toEqual(['Found', 'found']);
});

it('is plain text of at most 204 characters with its matches inside, whatever the text', () => {
  const text = fc.array(
    fc.oneof(fc.constantFrom('x', 'найти', '<b>', '\u{1f600}'.repeat(150), 'İstanbul'), fc.string()),
    {
      maxLength: 80,
    },
  );
  fc.assert(
    fc.property(
      text,
      fc.constantFrom('x', 'найти', 'b', 'i̇stanbul', '\u{1f600}'.repeat(32)),
      (parts, term) => {
        const whole = parts.join(' ').replace(/\s+/g, ' ').trim().toWellFormed();
        const { snippet, matches } = snippetOf(whole, new Set([term]));
        expect(snippet.length).toBeLessThanOrEqual(204);
        expect(snippet.isWellFormed()).toBe(true);
        for (const [at, length] of matches) expect(snippet.slice(at, at + length).toLowerCase()).toBe(term);
        const stands = [...placesOfTerms(whole)].some((place) => place.term === term);
        expect(matches.length > 0).toBe(stands);
      },
    ),
  );
});
