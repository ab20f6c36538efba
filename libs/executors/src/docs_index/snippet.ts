import { placesOfTerms } from './terms.js';

/** UTF-16 units shown before the first match, and in all. */
const before_chars = 60;
const snippet_chars = 200;

/** A piece of a document, plain text in one line. */
export interface Snippet {
  readonly snippet: string;
  /** Where found words stand in it: offset and length in UTF-16 units, as a string's `slice` counts. */
  readonly matches: readonly (readonly [number, number])[];
}

/**
 * The piece of a text around the first of the terms, or its beginning when none stands in it (they may all stand in its
 * title). It begins and ends between words; `…` stands for what is left out.
 *
 * @param terms as they stand in the index
 */
export function snippetOf(text: string, terms: ReadonlySet<string>): Snippet {
  const first = firstPlace(text, terms);
  const from = first <= before_chars ? 0 : wordStart(text, first - before_chars, first);
  const to = text.length <= from + snippet_chars ? text.length : wordEnd(text, from, from + snippet_chars);
  const piece = text.slice(from, to).replaceAll('\n', ' ');
  const lead = from === 0 ? '' : '… ';
  const matches: [number, number][] = [];
  for (const { term, start, end } of placesOfTerms(piece)) {
    if (terms.has(term)) matches.push([lead.length + start, end - start]);
  }
  return { snippet: lead + piece + (to === text.length ? '' : ' …'), matches };
}

function firstPlace(text: string, terms: ReadonlySet<string>): number {
  for (const { term, start } of placesOfTerms(text)) if (terms.has(term)) return start;
  return 0;
}

/** The first start of a word at or after `at`, but no later than `latest`. */
function wordStart(text: string, at: number, latest: number): number {
  const blank = text.slice(at, latest).search(/\s/);
  return blank === -1 ? latest : at + blank + 1;
}

/** The last end of a word at or before `at`; inside a word longer than the snippet, between two code points. */
function wordEnd(text: string, from: number, at: number): number {
  const piece = text.slice(from, at + 1);
  const blank = Math.max(piece.lastIndexOf(' '), piece.lastIndexOf('\n'));
  if (blank > 0) return from + blank;
  const low_surrogate = /[\uDC00-\uDFFF]/.test(text.charAt(at));
  return low_surrogate ? at - 1 : at;
}
