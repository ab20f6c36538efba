import { Header, type ImageFault, type ImageSize, type Window } from './image_size/header.js';
import { isSide, measure } from './image_size/image-size.js';
import { svgRoot, svgSize, type SvgRoot } from './image_size/svg.js';
import { asText, extensionOf, isNamedAsText, textType } from './text-types.js';

/** So much of a file's start is looked at, and as much again where a size stands further in. */
export const head_bytes = 512 * 1024;

const unknown_type = 'application/octet-stream';
const svg_type = 'image/svg+xml';

/** Little and big endian, TIFF and BigTIFF. */
const tiff_signatures: readonly (readonly number[])[] = [
  [0x49, 0x49, 42, 0],
  [0x4d, 0x4d, 0, 42],
  [0x49, 0x49, 43, 0],
  [0x4d, 0x4d, 0, 43],
];

/** What a file is, as far as its own bytes tell. */
export interface Identity {
  readonly mime: string;
  /** Images only. Null when it cannot be told. */
  readonly size?: ImageSize | null;
  /** Why the size of an image cannot be told, when something is wrong with it. */
  readonly fault?: ImageFault;
  /** Where in the file to look on, when the size lies out of reach of what was given. */
  readonly wanted_from?: number;
}

/**
 * Tells the media type of a file and the size of an image, from its start. A text goes by what it begins with and by its
 * extension, anything else by its magic number alone. Never throws on any bytes, decompresses no image, and takes time
 * in proportion to `head` at most.
 * @param head first bytes of the file, all of it or {@link head_bytes}
 */
export async function identify(head: Uint8Array, total_bytes: number, path: string): Promise<Identity> {
  const whole = head.length === total_bytes;
  const text = asText(head, whole, path);
  if (text !== null) return identifyText(text, whole, path);
  return measured(await magicType(head), new Header(head, total_bytes));
}

/** Looks again, with a window further into the file. */
export function lookFurther(
  { mime }: Identity,
  head: Uint8Array,
  total_bytes: number,
  window: Window,
): Identity {
  return measured(mime, new Header(head, total_bytes, window));
}

function measured(mime: string, header: Header): Identity {
  if (!mime.startsWith('image/')) return { mime };
  const result = measure(mime, header);
  if (result.fault === undefined) return { mime, size: result.size };
  const { fault, at } = result;
  // Two letters are no proof: what begins with BM and has no header of a BMP file is something else.
  if (mime === 'image/bmp' && fault === 'malformed') return { mime: unknown_type };
  return fault === 'out_of_reach'
    ? { mime, size: null, fault, wanted_from: at }
    : { mime, size: null, fault };
}

function identifyText(text: string, whole: boolean, path: string): Identity {
  if (text === '' && !isNamedAsText(path)) return { mime: unknown_type };
  const root = /^[\s\uFEFF]*</.test(text) ? svgRoot(text) : 'other';
  const isSvg = typeof root !== 'string' || (root !== 'other' && extensionOf(path) === 'svg');
  return isSvg ? svgIdentity(root, whole) : { mime: textType(text, path) };
}

function svgIdentity(root: SvgRoot, whole: boolean): Identity {
  if (root === 'cut_short')
    return { mime: svg_type, size: null, fault: whole ? 'truncated' : 'out_of_reach' };
  if (typeof root === 'string') return { mime: svg_type, size: null, fault: 'malformed' };
  const size = svgSize(root);
  if (size !== null && !(isSide(size.width) && isSide(size.height)))
    return { mime: svg_type, size: null, fault: 'malformed' };
  return { mime: svg_type, size };
}

async function magicType(head: Uint8Array): Promise<string> {
  // It is told by two bytes, and would be unpacked to look for a tar inside.
  if (head[0] === 0x1f && head[1] === 0x8b) return 'application/gzip';
  // Loaded when there is something to identify: most members of a pool never see an asset.
  const { fileTypeFromBuffer } = await import('file-type');
  const found = await fileTypeFromBuffer(head).catch(() => undefined); // It rejects broken containers.
  if (found !== undefined) return found.mime;
  return tiff_signatures.some((signature) => signature.every((byte, i) => head[i] === byte))
    ? 'image/tiff' // One whose directory lies behind the head is not told by file-type.
    : unknown_type;
}
