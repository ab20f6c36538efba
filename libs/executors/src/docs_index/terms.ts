import MiniSearch, { type Options } from 'minisearch';

/** Longer runs of letters (encoded data, mostly) are no words: they are not indexed and match nothing. */
const term_chars_max = 64;

/** What is searched, in the order of MiniSearch's field numbers. */
export const search_fields = ['title', 'headings', 'text'] as const;

/** A document as MiniSearch would be given it. */
export type IndexedDocument = Readonly<Record<'route' | 'path' | (typeof search_fields)[number], string>>;

/**
 * How the index is made and asked. Every word of a query must be found: as it stands, as the beginning of a word (from
 * three letters on) or with one wrong letter in five (from four letters on). Titles weigh most, then headings.
 */
export const search_options: Options<IndexedDocument> = {
  idField: 'route',
  fields: [...search_fields],
  storeFields: ['title', 'path'],
  processTerm: (term) => (term.length > term_chars_max ? null : term.toLowerCase()),
  searchOptions: {
    combineWith: 'AND',
    boost: { title: 4, headings: 2 },
    prefix: (term) => term.length >= 3,
    fuzzy: (term) => (term.length >= 4 ? 0.2 : false),
  },
};

const tokenize = MiniSearch.getDefault('tokenize') as (text: string) => string[];
const processTerm = search_options.processTerm as (term: string) => string | null;

/** What MiniSearch keeps of one field of one document. */
export interface FieldTerms {
  /** Different tokens: what it takes for the field's length. */
  readonly length: number;
  /** How often each term stands in it. */
  readonly counts: ReadonlyMap<string, number>;
}

/** Counts a field's terms as MiniSearch does when a document is added. */
export function fieldTerms(text: string): FieldTerms {
  const tokens = tokenize(text);
  const counts = new Map<string, number>();
  for (const token of tokens) {
    const term = processTerm(token);
    if (term) counts.set(term, (counts.get(term) ?? 0) + 1);
  }
  return { length: new Set(tokens).size, counts };
}

/** The tokens of a text with their places, and the terms that they are indexed as. */
export function* placesOfTerms(
  text: string,
): Generator<{ readonly term: string; readonly start: number; readonly end: number }> {
  // What lies between the separators of MiniSearch's own tokenizer.
  for (const { 0: token, index } of text.matchAll(/[^\n\r\p{Z}\p{P}]+/gu)) {
    const term = processTerm(token);
    if (term) yield { term, start: index, end: index + token.length };
  }
}
