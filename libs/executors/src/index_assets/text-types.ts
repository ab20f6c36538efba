/** Media type of a text by its file's extension, in lower case. Every other text is `text/plain`. */
const type_by_extension: ReadonlyMap<string, string> = new Map(
  Object.entries({
    'text/javascript': 'js mjs cjs jsx',
    'text/x-typescript': 'ts mts cts tsx',
    'text/css': 'css',
    'text/x-scss': 'scss',
    'text/x-sass': 'sass',
    'text/x-less': 'less',
    'text/html': 'html htm',
    'application/xhtml+xml': 'xhtml',
    'text/markdown': 'md markdown',
    'text/x-rst': 'rst',
    'text/x-tex': 'tex',
    'text/csv': 'csv',
    'text/tab-separated-values': 'tsv',
    'text/calendar': 'ics',
    'text/vcard': 'vcf',
    'text/vtt': 'vtt',
    'application/x-subrip': 'srt',
    'application/json': 'json map',
    'application/ld+json': 'jsonld',
    'application/geo+json': 'geojson',
    'application/manifest+json': 'webmanifest',
    'application/xml': 'xml xsl xslt xsd',
    'application/rss+xml': 'rss',
    'application/atom+xml': 'atom',
    'application/yaml': 'yaml yml',
    'application/toml': 'toml',
    'application/rtf': 'rtf',
    'application/postscript': 'ps eps',
    'application/vnd.apple.mpegurl': 'm3u8',
    'application/x-sh': 'sh',
    'text/x-python': 'py',
    'model/gltf+json': 'gltf',
    'model/obj': 'obj',
    'image/x-xpixmap': 'xpm',
    'image/x-xbitmap': 'xbm',
    'image/x-portable-bitmap': 'pbm',
    'image/x-portable-graymap': 'pgm',
    'image/x-portable-pixmap': 'ppm pnm',
  }).flatMap(([mime, extensions]) => extensions.split(' ').map((extension) => [extension, mime] as const)),
);

/** What a text may begin with, and what it then is, whatever its name says. */
const types_by_beginning: readonly (readonly [RegExp, string])[] = [
  [/^%PDF-/, 'application/pdf'],
  [/^%!PS/, 'application/postscript'],
  [/^\{\\rtf/, 'application/rtf'],
];

/** What a text without a telling name may begin with. */
const types_of_nameless: readonly (readonly [RegExp, string])[] = [
  [/^\s*<!doctype html\b/i, 'text/html'],
  [/^\s*<html\b/i, 'text/html'],
  [/^\s*<\?xml\b/, 'application/xml'],
];

/** Control characters that no text has: all but bell to carriage return, and escape. */
const control_bytes = new Uint8Array(256);
for (let byte = 0; byte < 32; byte++) {
  control_bytes[byte] = (byte >= 7 && byte <= 13) || byte === 27 ? 0 : 1;
}

/** Extension of a path, in lower case, without the dot; empty when it has none. */
export function extensionOf(path: string): string {
  return /[^/]\.([^./]+)$/.exec(path)?.[1]?.toLowerCase() ?? '';
}

/**
 * The start of a file as text, or null when it is not one: UTF-8, or UTF-16 with a byte order mark, without control
 * characters. Bytes above 127 that are not UTF-8 are taken for a text of an older encoding when the file is named as a
 * text.
 * @param whole is it all of the file? If not, half a character may stand at its end
 */
export function asText(head: Uint8Array, whole: boolean, path: string): string | null {
  if (head.length >= 2 && head[0] === 0xff && head[1] === 0xfe) return decoded(head, whole, 'utf-16le');
  if (head.length >= 2 && head[0] === 0xfe && head[1] === 0xff) return decoded(head, whole, 'utf-16be');
  for (let i = 0; i < head.length; i++) if (control_bytes[head[i]!] === 1) return null;
  return decoded(head, whole, 'utf-8') ?? (isNamedAsText(path) ? decoded(head, whole, 'latin1') : null);
}

/** The media type of a text that is no SVG document. */
export function textType(text: string, path: string): string {
  const byBeginning = (types: typeof types_by_beginning): string | undefined =>
    types.find(([beginning]) => beginning.test(text))?.[1];
  return (
    byBeginning(types_by_beginning) ??
    type_by_extension.get(extensionOf(path)) ??
    byBeginning(types_of_nameless) ??
    'text/plain'
  );
}

/** Does the name of a file say that it is a text? */
export function isNamedAsText(path: string): boolean {
  const extension = extensionOf(path);
  return extension === 'svg' || extension === 'txt' || type_by_extension.has(extension);
}

/** Null when it is not in the encoding. */
function decoded(
  head: Uint8Array,
  whole: boolean,
  encoding: 'utf-8' | 'utf-16le' | 'utf-16be' | 'latin1',
): string | null {
  try {
    const text = new TextDecoder(encoding, { fatal: true }).decode(head, { stream: !whole });
    return encoding.startsWith('utf-16') && hasControls(text) ? null : text;
  } catch {
    return null;
  }
}

function hasControls(text: string): boolean {
  return /[\x00-\x06\x0e-\x1a\x1c-\x1f]/.test(text);
}
