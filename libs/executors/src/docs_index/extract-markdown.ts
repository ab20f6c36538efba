import MarkdownIt, { type Token } from 'markdown-it';
import { parse as parseYaml } from 'yaml';
import { TextBuilder, type DocumentText } from './document-text.js';
import { addHtml } from './extract-html.js';

/** Deeper blocks are left out: markdown-it would go as deep as its limit. */
const nesting_max = 100;

/** More is no front matter. */
const front_matter_chars_max = 64 * 1024;

/** More of an entry is no title. */
const title_entry_chars_max = 400;

const markdown = new MarkdownIt({ html: true, linkify: false, typographer: false, maxNesting: nesting_max });

/**
 * The text of a Markdown document: CommonMark with tables and strikethrough. Code is text, for readers search for names
 * that stand in it; so are alternative texts of images; addresses of links are not. HTML inside counts as in
 * {@link addHtml}. The title is that of a YAML front matter, else the first heading.
 *
 * @param by_default its title when it has none
 */
export function extractMarkdown(source: string, by_default: string): DocumentText {
  const text = new TextBuilder();
  const { title, body } = splitFrontMatter(source);
  if (title !== null) text.setTitle(title);
  let heading = false;
  for (const token of markdown.parse(body, {})) {
    if (token.type === 'heading_open') heading = true;
    else if (token.type === 'heading_close') heading = false;
    else if (token.type === 'html_block') addHtml(token.content, text);
    else if (token.type === 'fence' || token.type === 'code_block') text.block(token.content);
    else if (token.type === 'inline') {
      const line = inlineText(token.children ?? []);
      if (heading) text.heading(line);
      else text.block(line);
    }
  }
  return text.finish(by_default);
}

function inlineText(tokens: readonly Token[]): string {
  const pieces: string[] = [];
  for (const { type, content, children } of tokens) {
    if (type === 'text' || type === 'text_special' || type === 'code_inline') pieces.push(content);
    else if (type === 'softbreak' || type === 'hardbreak') pieces.push(' ');
    else if (type === 'image') pieces.push(inlineText(children ?? []));
    else if (type === 'html_inline' && /^<br\b/i.test(content)) pieces.push(' ');
  }
  return pieces.join('');
}

/** The title that a YAML block between lines of three dashes at the very start gives, and what stands behind it. */
function splitFrontMatter(source: string): { readonly title: string | null; readonly body: string } {
  const head = source.slice(0, front_matter_chars_max);
  const found = /^---[ \t]*\r?\n([^]*?)^(?:---|\.\.\.)[ \t]*$/my.exec(head);
  if (found === null) return { title: null, body: source };
  return { title: titleOf(found[1]!), body: source.slice(found[0].length) };
}

/**
 * Only the entry `title` is parsed, and only so much of it as a title may have: a parser that recurses into a hostile
 * block would run out of stack, which is fatal to the whole process when a regular expression is compiled there.
 */
function titleOf(front_matter: string): string | null {
  const entry = /^title[ \t]*:.*(?:\r?\n(?:[ \t].*)?)*/m
    .exec(front_matter)?.[0]
    .slice(0, title_entry_chars_max);
  if (entry === undefined) return null;
  try {
    const { title } = parseYaml(entry, { logLevel: 'silent' }) as { readonly title?: unknown };
    return typeof title === 'string' || typeof title === 'number' ? String(title) : null;
  } catch {
    // What is no YAML was meant for somebody else; the document below it counts all the same.
    return null;
  }
}
