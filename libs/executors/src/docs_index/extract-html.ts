import { Tokenizer, type TokenizerCallbacks } from 'htmlparser2';
import { TextBuilder, type DocumentText } from './document-text.js';

/** Their content is no text for readers. */
const unseen = new Set(['script', 'style', 'template', 'iframe', 'object', 'noembed', 'noframes']);

/** Elements that do not end a line. All others do. */
const inline = new Set(
  'a abbr acronym b bdi bdo big cite code data del dfn em font i img input ins kbd label mark q s samp small span strike strong sub sup time tt u var wbr'.split(
    ' ',
  ),
);

/** The visible text of an HTML document. @param by_default its title when it has none */
export function extractHtml(html: string, by_default: string): DocumentText {
  const text = new TextBuilder();
  addHtml(html, text);
  return text.finish(by_default);
}

/**
 * Adds the visible text of HTML, which may be a fragment: tags left open or never opened do no harm. The tokenizer alone
 * does it, without a stack of open elements: that of htmlparser2's Parser costs quadratic time in its depth.
 */
export function addHtml(html: string, text: TextBuilder): void {
  const visible = new VisibleText(html, text);
  const tokenizer = new Tokenizer({ decodeEntities: true }, visible);
  tokenizer.write(html);
  tokenizer.end();
}

/** What the tokenizer tells, put into blocks. Keeps no tree: its memory is that of the text. */
class VisibleText implements TokenizerCallbacks {
  private pieces: string[] = [];
  /** The element whose content is not seen, and how many of its name are open. */
  private hidden: { readonly name: string; depth: number } | null = null;
  private block: 'text' | 'heading' | 'title' = 'text';
  /** The tag that is being opened. */
  private tag = '';
  private attribute = '';

  constructor(
    private readonly html: string,
    private readonly into: TextBuilder,
  ) {}

  onopentagname(start: number, end: number): void {
    const name = (this.tag = this.html.slice(start, end).toLowerCase());
    if (this.hidden !== null) {
      if (name === this.hidden.name) this.hidden.depth++;
    } else if (unseen.has(name)) {
      this.hidden = { name, depth: 1 };
    } else if (!inline.has(name)) {
      this.endBlock();
      if (/^h[1-6]$/.test(name)) this.block = 'heading';
      if (name === 'title') this.block = 'title';
    }
  }

  onclosetag(start: number, end: number): void {
    const name = this.html.slice(start, end).toLowerCase();
    if (this.hidden !== null) {
      if (name === this.hidden.name && --this.hidden.depth === 0) this.hidden = null;
    } else if (!inline.has(name)) {
      this.endBlock();
    }
  }

  ontext(start: number, end: number): void {
    this.add(this.html.slice(start, end));
  }

  ontextentity(codepoint: number): void {
    this.add(String.fromCodePoint(codepoint));
  }

  onattribname(start: number, end: number): void {
    this.attribute = this.html.slice(start, end).toLowerCase();
    if (this.isAlternative()) this.add(' ');
  }

  onattribdata(start: number, end: number): void {
    if (this.isAlternative()) this.add(this.html.slice(start, end));
  }

  onattribentity(codepoint: number): void {
    if (this.isAlternative()) this.add(String.fromCodePoint(codepoint));
  }

  onattribend(): void {
    if (this.isAlternative()) this.add(' ');
  }

  onend(): void {
    this.endBlock();
  }

  onopentagend(): void {}
  onselfclosingtag(): void {}
  oncdata(): void {}
  oncomment(): void {}
  ondeclaration(): void {}
  onprocessinginstruction(): void {}

  private isAlternative(): boolean {
    return this.tag === 'img' && this.attribute === 'alt';
  }

  private add(piece: string): void {
    if (this.hidden === null) this.pieces.push(piece);
  }

  private endBlock(): void {
    const block = this.pieces.join('');
    this.pieces = [];
    if (this.block === 'title') this.into.setTitle(block);
    else if (this.block === 'heading') this.into.heading(block);
    else this.into.block(block);
    this.block = 'text';
  }
}
