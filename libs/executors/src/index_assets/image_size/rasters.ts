import { HeaderFault, type Header, type ImageSize } from './header.js';

/*
 * Formats whose size stands at a place that is known, or a few steps away. Nothing is decompressed, and every loop moves
 * forward through the header, so a hostile file costs no more than a harmless one.
 */

/** PNG (W3C PNG, third edition, 11.2.1). Apple's variant has a chunk of its own before IHDR. */
export function pngSize(header: Header): ImageSize {
  const at = header.is(12, 'CgBI') ? 8 + 12 + header.be32(8) : 8;
  header.assert(header.be32(at) === 13 && header.is(at + 4, 'IHDR'));
  return { width: header.be32(at + 8), height: header.be32(at + 12) };
}

/** GIF89a, 18: the logical screen. */
export function gifSize(header: Header): ImageSize {
  return { width: header.le16(6), height: header.le16(8) };
}

/** JPEG (ITU-T T.81, annex B): the first frame header. EXIF orientation is not applied. */
export function jpegSize(header: Header): ImageSize {
  for (let at = 2; ;) {
    // What stands between segments is skipped, as decoders do; any number of fill bytes may precede a marker.
    while (header.u8(at) !== 0xff) at++;
    while (header.u8(at) === 0xff) at++;
    const marker = header.u8(at++);
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return { width: header.be16(at + 5), height: header.be16(at + 3) };
    header.assert(marker !== 0xd9 && marker !== 0xda); // End of image, start of scan: too late for a frame.
    const stands_alone = marker === 0x00 || marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8);
    if (stands_alone) continue;
    const length = header.be16(at);
    header.assert(length >= 2);
    at += length;
  }
}

/** WebP (RFC 9649, 2.5 to 2.7): lossy, lossless, or extended, which tells the size of its canvas. */
export function webpSize(header: Header): ImageSize {
  if (header.is(12, 'VP8X')) return { width: header.le24(24) + 1, height: header.le24(27) + 1 };
  if (header.is(12, 'VP8L')) {
    header.assert(header.u8(20) === 0x2f);
    const bits = header.le32(21);
    return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
  }
  header.assert(header.is(12, 'VP8 ') && header.uint(23, 3) === 0x9d012a);
  return { width: header.le16(26) & 0x3fff, height: header.le16(28) & 0x3fff };
}

/** BMP: BITMAPCOREHEADER, or one of the longer headers. A negative height means rows from the top. */
export function bmpSize(header: Header): ImageSize {
  const info_bytes = header.le32(14);
  if (info_bytes === 12) return { width: header.le16(18), height: header.le16(20) };
  header.assert(info_bytes >= 16 && info_bytes <= 124);
  return { width: header.le32(18) | 0, height: Math.abs(header.le32(22) | 0) };
}

/** ICO and CUR: the largest image of the directory, where 0 stands for 256. */
export function iconSize(header: Header): ImageSize {
  const images = header.le16(4);
  header.assert(images > 0);
  let largest: ImageSize = { width: 0, height: 0 };
  for (let at = 6; at < 6 + images * 16; at += 16) {
    const size = { width: header.u8(at) || 256, height: header.u8(at + 1) || 256 };
    if (size.width * size.height > largest.width * largest.height) largest = size;
  }
  return largest;
}

/** Photoshop (PSD and PSB). */
export function psdSize(header: Header): ImageSize {
  return { width: header.be32(18), height: header.be32(14) };
}

/** More entries than any directory of a real file has. */
const tiff_entries_max = 4096;

/** TIFF 6.0 and BigTIFF: ImageWidth and ImageLength of the first directory. */
export function tiffSize(header: Header): ImageSize {
  const little = header.is(0, 'II');
  const big = header.uint(2, 2, little) === 43;
  const directory = big ? header.uint64(8, little) : header.uint(4, 4, little);
  const entries = big ? header.uint64(directory, little) : header.uint(directory, 2, little);
  header.assert(entries <= tiff_entries_max);
  const [first, step] = big ? [directory + 8, 20] : [directory + 2, 12];
  let width: number | null = null;
  let height: number | null = null;
  for (let at = first; at < first + entries * step && (width === null || height === null); at += step) {
    const tag = header.uint(at, 2, little);
    if (tag === 256) width = tiffNumber(header, at, big, little);
    if (tag === 257) height = tiffNumber(header, at, big, little);
  }
  if (width === null || height === null) throw new HeaderFault('malformed');
  return { width, height };
}

/** The value of an entry of type SHORT, LONG or LONG8. */
function tiffNumber(header: Header, entry: number, big: boolean, little: boolean): number {
  const type = header.uint(entry + 2, 2, little);
  const at = entry + (big ? 12 : 8);
  if (type === 3) return header.uint(at, 2, little);
  if (type === 4) return header.uint(at, 4, little);
  header.assert(big && type === 16);
  return header.uint64(at, little);
}
