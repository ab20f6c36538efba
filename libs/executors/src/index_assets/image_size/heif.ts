import { boxes, findBox, type Box } from './boxes.js';
import { HeaderFault, type Header, type ImageSize } from './header.js';

/**
 * HEIF and AVIF (ISO/IEC 23008-12): the `ispe` property of the primary item. Rotation (`irot`), mirroring and cropping
 * (`clap`) are not applied.
 */
export function heifSize(header: Header): ImageSize {
  const meta = findBox(header, 'meta', 0, header.total_bytes);
  const inside = meta.from + 4; // A full box: version and flags come first.
  const primary = primaryItem(header, findBox(header, 'pitm', inside, meta.to));
  const properties = findBox(header, 'iprp', inside, meta.to);
  const container = findBox(header, 'ipco', properties.from, properties.to);
  const sizes = new Map<number, number>();
  let index = 0;
  for (const box of boxes(header, container.from, container.to)) {
    index++;
    if (box.type === 'ispe') sizes.set(index, box.from + 4);
  }
  for (const box of boxes(header, properties.from, properties.to)) {
    if (box.type !== 'ipma') continue;
    for (const property of propertiesOf(primary, header, box)) {
      const at = sizes.get(property);
      if (at !== undefined) return { width: header.be32(at), height: header.be32(at + 4) };
    }
  }
  throw new HeaderFault('malformed');
}

function primaryItem(header: Header, { from }: Box): number {
  return header.u8(from) === 0 ? header.be16(from + 4) : header.be32(from + 4);
}

/** Indices, from 1, of the properties that an `ipma` box associates with an item. */
function propertiesOf(item: number, header: Header, { from, to }: Box): readonly number[] {
  const id_bytes = header.u8(from) === 0 ? 2 : 4;
  const index_bytes = (header.u8(from + 3) & 1) === 1 ? 2 : 1;
  const essential = index_bytes === 2 ? 0x8000 : 0x80;
  let left = header.be32(from + 4);
  for (let at = from + 8; left > 0 && at < to; left--) {
    const id = header.uint(at, id_bytes);
    const count = header.u8(at + id_bytes);
    at += id_bytes + 1;
    if (id === item) {
      return Array.from(
        { length: count },
        (_, i) => header.uint(at + i * index_bytes, index_bytes) % essential,
      );
    }
    at += count * index_bytes;
  }
  return [];
}
