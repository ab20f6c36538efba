import { extractHtml } from './extract-html.js';
import { extractMarkdown } from './extract-markdown.js';

describe('extractMarkdown', () => {
  it('takes title, headings and text, without marks and addresses', () => {
    const source = `Intro *before* the title.

# Getting **started**

Install [the package](https://example.com/secret "tip") with \`npm install\`,
then &amp; only then ![a diagram](x.png) ~~run~~ it.

- one
  1. two

> quoted

| Name | Use |
| ---- | --- |
| \`x\`  | y   |

\`\`\`js
const answer\t= 42;
\`\`\`

## Next
<p align="center">In <b>HTML</b><br>too <img alt="logo"></p>
<script>alert(1)</script>
<!-- a comment -->
`;
    expect(extractMarkdown(source, 'name')).toEqual({
      title: 'Getting started',
      headings: 'Getting started\nNext',
      text: [
        'Intro before the title.',
        'Getting started',
        'Install the package with npm install, then & only then a diagram run it.',
        'one',
        'two',
        'quoted',
        'Name',
        'Use',
        'x',
        'y',
        'const answer = 42;',
        'Next',
        'In HTML',
        'too logo',
      ].join('\n'),
    });
  });

  it.each([
    ['---\ntitle: From YAML\n---\n# Heading\n', 'From YAML', 'Heading'],
    ['---\r\ntitle: 42\r\n---\r\ntext', '42', 'text'],
    ['---\nx: 1\ntitle: >-\n  Folded\n  title\ny: 2\n---\ntext', 'Folded title', 'text'],
    ['---\nnested:\n  title: no\n"title": no\n---\ntext', 'name', 'text'],
    ['---\ntitle: [a]\n---\ntext', 'name', 'text'],
    ['---\n: : {\n---\ntext', 'name', 'text'],
    ['---\nnever closed', 'name', 'never closed'],
    ['text\n\n---\ntitle: no\n---\n', 'title: no', 'text\ntitle: no'],
    ['<h1>From <i>HTML</i></h1>\n\ntext', 'From HTML', 'From HTML\ntext'],
    ['', 'name', ''],
  ])('reads the front matter and title of %j', (source, title, text) => {
    expect(extractMarkdown(source, 'name')).toMatchObject({ title, text });
  });

  it('keeps titles short and whole letters whole', () => {
    const { title } = extractMarkdown(`# ${'\u{1f600}'.repeat(300)}`, 'name');
    expect(title).toBe('\u{1f600}'.repeat(200));
    expect(extractMarkdown('a\0b &#xD800; &#0;', 'name').text).toBe('a\u{fffd}b \u{fffd} \u{fffd}');
  });
});

describe('extractHtml', () => {
  it('takes what is seen', () => {
    const html = `<!doctype html><html><head><title>The &lt;title&gt;</title><style>p { color: red }</style>
      <script>document.write('<p>no</p>')</script></head>
      <body><nav><a href="/">Home</a></nav><h1>Head<em>ing</em></h1><p>One <b>bold</b>
      line<p>two&nbsp;three<template><p>unseen<template>x</template>y</template>
      <img src=x ALT='the "logo" &amp; more'><table><tr><td>a<td>b</table>
      <h2>Second<p>open<!-- hidden --><textarea>typed</textarea></div></body>`;
    expect(extractHtml(html, 'name')).toEqual({
      title: 'The <title>',
      headings: 'Heading\nSecond',
      text: [
        'Home',
        'Heading',
        'One bold line',
        'two three the "logo" & more',
        'a',
        'b',
        'Second',
        'open',
        'typed',
      ].join('\n'),
    });
    expect(extractHtml('<p>text</p>', 'name').title).toBe('name');
    expect(extractHtml('<h3>Only a heading</h3>', 'name').title).toBe('Only a heading');
  });
});

describe('hostile documents', () => {
  const bytes = 200_000;
  const of = (piece: string): string => piece.repeat(bytes / piece.length);

  it.each<[string, () => string]>([
    ['one line', () => of('word ')],
    ['one word', () => of('x')],
    ['brackets', () => of('[')],
    ['image brackets', () => of('![')],
    ['half links', () => of('[a](')],
    ['emphasis', () => of('*_')],
    ['backticks', () => Array.from({ length: 1400 }, (_, i) => 'a' + '`'.repeat(i)).join('')],
    ['nested quotes', () => of('> ')],
    ['nested lists', () => Array.from({ length: 1400 }, (_, i) => ' '.repeat(i) + '- a').join('\n')],
    ['a wide table', () => `${of('|a')}\n${of('|-')}\n${of('|x')}`.slice(0, bytes)],
    ['a table of many cells', () => `|a|b|\n|-|-|\n${of('|x|y|\n')}`],
    ['references', () => of('[a]: b "\n')],
    ['NULs', () => of('\0')],
    ['open comments', () => of('<!--')],
    ['front matter', () => `---\n${of('[')}\n---\n`],
    ['deep front matter', () => `---\ntitle: ${'['.repeat(60_000)}\n---\n`],
    ['YAML aliases', () => `---\na: &a [x,x,x]\n${'b: &b [*a,*a,*a]\n'.repeat(3000)}---\n`],
    ['nested images', () => '!['.repeat(bytes / 6) + '](a)'.repeat(bytes / 6)],
    ['HTML in Markdown', () => of('<b>')],
  ])('Markdown: %s', (_, make) => {
    const source = make();
    const begun = performance.now();
    extractMarkdown(source, 'name');
    expect(performance.now() - begun).toBeLessThan(4_000);
  });

  it.each([
    '<b>',
    '<b></i>',
    '<p>',
    '<',
    '<!--',
    '&',
    '&notit;',
    '<a b="',
    '<script>',
    '<template>',
    '<title></titl',
    '\0',
  ])('HTML: %j again and again', (piece) => {
    const begun = performance.now();
    extractHtml(of(piece), 'name');
    expect(performance.now() - begun).toBeLessThan(1_000);
  });
});
