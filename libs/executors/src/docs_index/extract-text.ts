import type { DocumentText } from './document-text.js';
import { extractHtml } from './extract-html.js';
import { extractMarkdown } from './extract-markdown.js';

/** The text of a document, whose extension tells its format. */
export function extractText(path: string, source: string): DocumentText {
  const title = titleByPath(path);
  return /\.html?$/i.test(path) ? extractHtml(source, title) : extractMarkdown(source, title);
}

/** The name of the file without its extension, or that of its folder for an index or README. */
function titleByPath(path: string): string {
  const names = path.replace(/\.[^./]*$/, '').split('/');
  const own = names.at(-1)!;
  return (/^(?:index|readme)$/i.test(own) ? names.at(-2) : undefined) ?? own;
}
