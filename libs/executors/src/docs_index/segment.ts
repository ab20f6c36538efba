import { canonicalJson } from '#hxo/execute';
import type { DocumentText } from './document-text.js';
import { fieldTerms, search_fields } from './terms.js';

/*
 * A segment: what a shard's documents add to the index. UTF-8 lines of JSON, each ended by a line feed:
 *
 *     {"documents":2,"terms":3,"type":"hxo-docs-segment/v1"}
 *     ["guide/start.md","Getting started",[2,5,120]]        path, title, lengths of the fields; for each document
 *     "Getting started\nInstall it …"                       its text
 *     …
 *     ["install",[],[0,1],[0,3,1,1]]                        term; for each field: document, count, document, count …
 *
 * The fields are title, headings and text. Documents are numbered in the order of their lines; terms are sorted by UTF-16
 * code units. Routes are no part of it: they follow from the inputs, or from all paths of the stage.
 */
const segment_type = 'hxo-docs-segment/v1';

/** Documents of a postings list and their counts in turn. */
type Postings = number[];

/** Makes a segment, document by document. */
export class SegmentBuilder {
  private readonly lines: string[] = [];
  private readonly terms = new Map<string, Postings[]>();
  private documents = 0;

  add(path: string, document: DocumentText): void {
    const lengths = search_fields.map((field, field_no) => {
      const { length, counts } = fieldTerms(document[field]);
      for (const [term, count] of counts) this.postingsOf(term)[field_no]!.push(this.documents, count);
      return length;
    });
    this.lines.push(JSON.stringify([path, document.title, lengths]), JSON.stringify(document.text));
    this.documents++;
  }

  finish(): { readonly bytes: Buffer; readonly terms: number } {
    const head = canonicalJson({ type: segment_type, documents: this.documents, terms: this.terms.size });
    const terms = [...this.terms.keys()].sort();
    const rows = terms.map((term) => JSON.stringify([term, ...this.terms.get(term)!]));
    return { bytes: Buffer.from([head, ...this.lines, ...rows, ''].join('\n')), terms: terms.length };
  }

  private postingsOf(term: string): Postings[] {
    let postings = this.terms.get(term);
    if (postings === undefined) this.terms.set(term, (postings = search_fields.map(() => [])));
    return postings;
  }
}

/** A document of a segment. */
export interface SegmentDocument {
  readonly path: string;
  readonly title: string;
  readonly lengths: readonly number[];
  /** Its text as JSON. */
  readonly text: Uint8Array;
}

/** A term of a segment, with its postings field by field. */
export interface SegmentTerm {
  readonly term: string;
  readonly postings: readonly (readonly number[])[];
}

/** Reads a segment whose bytes have been checked against their digest. */
export class SegmentReader {
  readonly documents: readonly SegmentDocument[];
  private at = 0;

  constructor(private readonly bytes: Buffer) {
    const { documents } = JSON.parse(this.line().toString()) as { readonly documents: number };
    this.documents = Array.from({ length: documents }, () => {
      const [path, title, lengths] = JSON.parse(this.line().toString()) as [string, string, number[]];
      return { path, title, lengths, text: this.line() };
    });
  }

  /** The next term, or null after the last. */
  nextTerm(): SegmentTerm | null {
    if (this.at === this.bytes.length) return null;
    const [term, ...postings] = JSON.parse(this.line().toString()) as [string, ...number[][]];
    return { term, postings };
  }

  private line(): Buffer {
    const end = this.bytes.indexOf(10, this.at);
    const line = this.bytes.subarray(this.at, end);
    this.at = end + 1;
    return line;
  }
}
