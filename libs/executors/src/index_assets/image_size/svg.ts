import type { ImageSize } from './header.js';

/** What the start of a text is. */
export type SvgRoot =
  /** An SVG document: the attributes of its root element. */
  | ReadonlyMap<string, string>
  /** One whose root element is not well-formed. */
  | 'malformed'
  /** The text ends before its root element does. */
  | 'cut_short'
  | 'other';

const name_pattern = /[A-Za-z_][\w.-]*(?::[A-Za-z_][\w.-]*)?/y;
const attribute_pattern = /\s*([^\s=<>"'/]+)\s*=\s*(?:"([^"<]*)"|'([^'<]*)')/y;

/**
 * The root element of an XML text, when it is `svg`. Declaration, comments and DOCTYPE are skipped without being
 * understood: no entity is ever expanded. Time is linear in the length of the text.
 */
export function svgRoot(text: string): SvgRoot {
  const start = rootStart(text);
  if (typeof start === 'string') return start;
  name_pattern.lastIndex = start + 1;
  const name = name_pattern.exec(text)?.[0] ?? '';
  if (name !== 'svg' && !name.endsWith(':svg')) return 'other';
  const attributes = new Map<string, string>();
  attribute_pattern.lastIndex = start + 1 + name.length;
  let end = attribute_pattern.lastIndex;
  for (let found = attribute_pattern.exec(text); found !== null; found = attribute_pattern.exec(text)) {
    end = attribute_pattern.lastIndex;
    attributes.set(found[1]!, found[2] ?? found[3]!);
  }
  const rest = /\s*(\/?>)?/y;
  rest.lastIndex = end;
  if (rest.exec(text)?.[1] !== undefined) return attributes;
  return text.indexOf('>', end) === -1 ? 'cut_short' : 'malformed';
}

/** Offset of the first element's `<`. */
function rootStart(text: string): number | 'other' | 'cut_short' {
  for (let at = 0; ;) {
    at = skipBlank(text, at);
    if (at >= text.length) return 'cut_short';
    if (text[at] !== '<') return 'other';
    let end: number;
    if (text.startsWith('<?', at)) end = after(text, '?>', at);
    else if (text.startsWith('<!--', at)) end = after(text, '-->', at + 4);
    else if (/^<!doctype/i.test(text.slice(at, at + 9))) end = afterDoctype(text, at + 9);
    else return at;
    if (end === -1) return 'cut_short';
    at = end;
  }
}

/** Behind a DOCTYPE with or without declarations of its own, in which quotes and comments may hold brackets. */
function afterDoctype(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at !== -1 && at < text.length;) {
    const letter = text[at];
    if (letter === '"' || letter === "'") at = after(text, letter, at + 1);
    else if (text.startsWith('<!--', at)) at = after(text, '-->', at + 4);
    else if (letter === '>' && depth === 0) return at + 1;
    else {
      if (letter === '[') depth++;
      if (letter === ']') depth--;
      at++;
    }
  }
  return -1;
}

function after(text: string, mark: string, from: number): number {
  const at = text.indexOf(mark, from);
  return at === -1 ? -1 : at + mark.length;
}

function skipBlank(text: string, from: number): number {
  const blank = /[\s\uFEFF]*/y;
  blank.lastIndex = from;
  return from + (blank.exec(text)?.[0].length ?? 0);
}

/** CSS pixels of the absolute units (CSS Values 4, 6.2). */
const pixels_by_unit: Readonly<Record<string, number>> = {
  '': 1, px: 1, pt: 96 / 72, pc: 16, in: 96, cm: 96 / 2.54, mm: 96 / 25.4, q: 96 / 101.6,
}; // prettier-ignore

const length_pattern =
  /^\s*\+?(\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})(?:e([+-]?\d))?(px|pt|pc|in|cm|mm|q)?\s*$/i;

/**
 * The natural size of an SVG document in CSS pixels, to a thousandth (SVG 2, 8.2 and CSS Images 3, 5.1): `width` and
 * `height`; one of them and the proportions of `viewBox`; else the size of `viewBox`. Null when it has no such size:
 * lengths in `%` or `em` depend on where it is shown.
 */
export function svgSize(attributes: ReadonlyMap<string, string>): ImageSize | null {
  const width = pixels(attributes.get('width'));
  const height = pixels(attributes.get('height'));
  if (width !== null && height !== null) return rounded(width, height);
  const box = viewBox(attributes.get('viewBox'));
  if (box === null) return null;
  if (width !== null) return rounded(width, (width * box.height) / box.width);
  if (height !== null) return rounded((height * box.width) / box.height, height);
  return rounded(box.width, box.height);
}

function pixels(length: string | undefined): number | null {
  const [, number, exponent = '0', unit = ''] = length_pattern.exec(length ?? '') ?? [];
  if (number === undefined) return null;
  return Number(number) * 10 ** Number(exponent) * pixels_by_unit[unit.toLowerCase()]!;
}

function viewBox(text: string | undefined): ImageSize | null {
  const numbers = (text ?? '').trim().slice(0, 200).split(/[\s,]+/).map(Number); // prettier-ignore
  const [, , width, height] = numbers;
  if (numbers.length !== 4 || !numbers.every(Number.isFinite)) return null;
  return width! > 0 && height! > 0 ? { width: width!, height: height! } : null;
}

function rounded(width: number, height: number): ImageSize {
  return { width: Math.round(width * 1000) / 1000, height: Math.round(height * 1000) / 1000 };
}
