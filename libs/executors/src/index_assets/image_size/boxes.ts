import { HeaderFault, type Header } from './header.js';

/** A box of an ISO base media file (ISO/IEC 14496-12, 4.2): where its content begins and ends. */
export interface Box {
  readonly type: string;
  readonly from: number;
  /** Offset behind its last byte. */
  readonly to: number;
}

/** The boxes between two offsets. Each is at least 8 bytes long, so this ends, whatever the lengths say. */
export function* boxes(header: Header, from: number, to: number): Generator<Box> {
  for (let at = from; at < to;) {
    let length = header.be32(at);
    let content = at + 8;
    if (length === 1) {
      length = header.uint64(at + 8, false);
      content = at + 16;
    } else if (length === 0) {
      length = to - at; // It reaches to the end.
    }
    const end = at + length;
    if (end > header.total_bytes) throw new HeaderFault('truncated', at);
    header.assert(end >= content && end <= to);
    yield { type: typeAt(header, at + 4), from: content, to: end };
    at = end;
  }
}

/** The first box of a type. Throws `malformed` when there is none. */
export function findBox(header: Header, type: string, from: number, to: number): Box {
  for (const box of boxes(header, from, to)) if (box.type === type) return box;
  throw new HeaderFault('malformed');
}

function typeAt(header: Header, at: number): string {
  return String.fromCharCode(header.u8(at), header.u8(at + 1), header.u8(at + 2), header.u8(at + 3));
}
