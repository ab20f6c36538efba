import { boxes } from './boxes.js';
import { HeaderFault, type Header, type ImageSize } from './header.js';

/** Width to height, by the three bits of a SizeHeader; 0 means that the width is told by itself. */
const ratios = [null, [1, 1], [12, 10], [4, 3], [3, 2], [16, 9], [5, 4], [2, 1]] as const;

/** Extra bits of a long size, by its two bits in front. */
const long_bits = [9, 13, 18, 30] as const;

/** JPEG XL (ISO/IEC 18181-1, SizeHeader), bare or in boxes. Its orientation is not applied. */
export function jxlSize(header: Header): ImageSize {
  const bits = bitsFrom(header, codestream(header) + 2);
  const short = bits(1) === 1;
  const length = (): number => (short ? (bits(5) + 1) * 8 : bits(long_bits[bits(2)]!) + 1);
  const height = length();
  const ratio = ratios[bits(3)];
  return { height, width: ratio ? Math.floor((height * ratio[0]) / ratio[1]) : length() };
}

/** Where the codestream begins, in the first box that holds any of it. */
function codestream(header: Header): number {
  if (header.be16(0) === 0xff0a) return 0;
  for (const { type, from } of boxes(header, 0, header.total_bytes)) {
    const start = type === 'jxlp' ? from + 4 : from;
    if (type !== 'jxlc' && type !== 'jxlp') continue;
    header.assert(header.be16(start) === 0xff0a);
    return start;
  }
  throw new HeaderFault('malformed');
}

/** Reads bits from an offset on, the lowest of a byte first. */
function bitsFrom(header: Header, at: number): (count: number) => number {
  let next = 0;
  return (count) => {
    let value = 0;
    for (let i = 0; i < count; i++, next++) {
      value += ((header.u8(at + (next >> 3)) >> (next & 7)) & 1) * 2 ** i;
    }
    return value;
  };
}
