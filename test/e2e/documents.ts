import { readFileSync } from 'node:fs';

/** A fenced block of a Markdown document. */
export interface Block {
  readonly language: string;
  readonly text: string;
}

/** A Markdown document, or the part of it below one heading, as far as tests look at it. */
export interface Document {
  readonly text: string;
  readonly blocks: readonly Block[];
  /** The commands of its shell blocks. */
  readonly commands: readonly string[];
  /** The texts of its JSON blocks. */
  readonly json: readonly string[];
  /** Its tables, each as rows of cells without the head. */
  readonly tables: readonly string[][][];
  /** What stands below a heading, up to the next of its level or above. Throws when there is no such heading. */
  section(heading: string): Document;
}

export function readDocument(path: string): Document {
  return documentOf(readFileSync(path, 'utf8'), path);
}

function documentOf(text: string, path: string): Document {
  const blocks = [...text.matchAll(/^```(\w+).*\n([^]*?)^```$/gm)].map(
    ([, language = '', block = '']): Block => ({ language, text: block }),
  );
  const textsIn = (...languages: string[]): string[] =>
    blocks.filter((block) => languages.includes(block.language)).map((block) => block.text);
  return {
    text,
    blocks,
    commands: textsIn('sh', 'bash').flatMap(commandsOf),
    json: textsIn('json'),
    tables: [...text.matchAll(/(?:^\|.*\|\n)+/gm)].map(([table]) => rowsOf(table)),
    section: (heading) => documentOf(sectionOf(text, heading, path), path),
  };
}

/** The commands of a shell block: a line each, or several that a backslash or an open quote holds together. */
function commandsOf(block: string): string[] {
  const commands: string[] = [];
  let open = '';
  for (const line of block.split('\n')) {
    if (open === '' && (line.trim() === '' || line.startsWith('#'))) continue;
    open += open === '' ? line : `\n${line}`;
    const quoted = open.split("'").length % 2 === 0;
    if (quoted || line.endsWith('\\')) continue;
    commands.push(open);
    open = '';
  }
  return commands;
}

function sectionOf(text: string, heading: string, path: string): string {
  // Lines that begin with # inside a fenced block are comments of the shell, not headings.
  let fenced = false;
  let level = 0;
  const lines: string[] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('```')) fenced = !fenced;
    const marks = fenced ? undefined : /^(#+) /.exec(line)?.[1];
    if (level > 0 && marks !== undefined && marks.length <= level) break;
    if (level > 0) lines.push(line);
    else if (marks !== undefined && line.slice(marks.length + 1) === heading) level = marks.length;
  }
  if (level === 0) throw new Error(`${path} has no heading "${heading}".`);
  return lines.join('\n');
}

function rowsOf(table: string): string[][] {
  const rows = table.trimEnd().split('\n').slice(2);
  return rows.map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}
