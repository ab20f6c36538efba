import type { SegmentDocument, SegmentReader, SegmentTerm } from './segment.js';
import { mergeTerms } from './merge-terms.js';
import { search_fields } from './terms.js';

/** A document that has its place in the index. */
export interface NumberedDocument extends SegmentDocument {
  readonly route: string;
  /** From 0, in the order of routes. */
  readonly number: number;
}

/** Pieces of the text are handed on when they have so many characters. */
const piece_chars = 64 * 1024;

/**
 * The index as `JSON.stringify` of a MiniSearch (serialization version 2) would give it had all documents been added in the
 * order of their numbers, but with its terms sorted. Piece by piece: it is never whole in memory.
 *
 * @param readers the segments, with their documents read
 * @param documents those of all segments, one segment after the other
 * @param terms is told how many there are
 */
export function* indexJson(
  readers: readonly SegmentReader[],
  documents: readonly NumberedDocument[],
  terms: { count: number },
): Generator<string> {
  const inOrder = [...documents].sort((a, b) => a.number - b.number);
  const numbered = (value: (document: NumberedDocument) => unknown): string =>
    JSON.stringify(Object.fromEntries(inOrder.map((document) => [document.number, value(document)])));
  const count = documents.length;
  yield `{"documentCount":${count},"nextId":${count},"documentIds":${numbered(({ route }) => route)}`;
  yield `,"fieldIds":${JSON.stringify(Object.fromEntries(search_fields.map((field, i) => [field, i])))}`;
  yield `,"fieldLength":${numbered(({ lengths }) => lengths)}`;
  yield `,"averageFieldLength":${JSON.stringify(averageLengths(inOrder))}`;
  yield `,"storedFields":${numbered(({ title, path }) => ({ title, path }))},"dirtCount":0,"index":[`;
  yield* termRows(readers, documents, terms);
  yield '],"serializationVersion":2}';
}

/** Running averages, in the order and by the formula of MiniSearch, so that they come to the very same doubles. */
function averageLengths(documents: readonly NumberedDocument[]): number[] {
  const averages: number[] = [];
  for (const [before, { lengths }] of documents.entries()) {
    for (const [field, length] of lengths.entries()) {
      averages[field] = ((averages[field] ?? 0) * before + length) / (before + 1);
    }
  }
  return averages;
}

function* termRows(
  readers: readonly SegmentReader[],
  documents: readonly NumberedDocument[],
  terms: { count: number },
): Generator<string> {
  const starts: number[] = [];
  let start = 0;
  for (const reader of readers) {
    starts.push(start);
    start += reader.documents.length;
  }
  let piece = '';
  for (const [term, parts] of mergeTerms(readers)) {
    const fields = search_fields
      .map((_, field) => fieldPostings(field, parts, (segment, i) => documents[starts[segment]! + i]!.number))
      .filter((postings) => postings !== '');
    piece += `${terms.count === 0 ? '' : ','}[${JSON.stringify(term)},{${fields.join(',')}}]`;
    terms.count++;
    if (piece.length < piece_chars) continue;
    yield piece;
    piece = '';
  }
  yield piece;
}

/** A term's documents and counts in one field, by number of document; empty when there are none. */
function fieldPostings(
  field: number,
  parts: readonly (SegmentTerm & { readonly segment: number })[],
  numberOf: (segment: number, document: number) => number,
): string {
  const rows: (readonly [number, number])[] = [];
  for (const { segment, postings } of parts) {
    const own = postings[field]!;
    for (let i = 0; i < own.length; i += 2) rows.push([numberOf(segment, own[i]!), own[i + 1]!]);
  }
  if (rows.length === 0) return '';
  rows.sort(([a], [b]) => a - b);
  return `"${field}":{${rows.map(([document, count]) => `"${document}":${count}`).join(',')}}`;
}
