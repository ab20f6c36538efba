/** What is indexed of a document. Blanks are single spaces, blocks are lines. */
export interface DocumentText {
  readonly title: string;
  /** Its headings, one a line. */
  readonly headings: string;
  /** All that a reader sees, headings included, one block a line. */
  readonly text: string;
}

/** A longer title is no title. In code points. */
const title_chars_max = 200;

/** Gathers a document's text block by block. */
export class TextBuilder {
  private title: string | null = null;
  private readonly headings: string[] = [];
  private readonly blocks: string[] = [];

  /** Sets the title that the document gives itself; the first one counts. */
  setTitle(title: string): void {
    const clean = tidy(title);
    if (clean !== '') this.title ??= clean;
  }

  block(text: string): void {
    const clean = tidy(text);
    if (clean !== '') this.blocks.push(clean);
  }

  heading(text: string): void {
    const clean = tidy(text);
    if (clean === '') return;
    this.headings.push(clean);
    this.blocks.push(clean);
  }

  /** @param by_default the title when the document has neither title nor heading */
  finish(by_default: string): DocumentText {
    const title = this.title ?? this.headings[0] ?? tidy(by_default);
    return {
      title: [...title.slice(0, 2 * title_chars_max)].slice(0, title_chars_max).join('').toWellFormed(),
      headings: this.headings.join('\n'),
      text: this.blocks.join('\n'),
    };
  }
}

/** Blanks of every kind as one space; what is no Unicode text, and NUL, as U+FFFD. */
function tidy(text: string): string {
  return text.replaceAll('\0', '\u{fffd}').replace(/\s+/g, ' ').trim().toWellFormed();
}
