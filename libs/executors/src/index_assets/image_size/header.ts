/** Why the size of an image cannot be told. */
export type ImageFault =
  /** The file ends inside its header. */
  | 'truncated'
  /** The header is not what the format asks for. */
  | 'malformed'
  /** The size stands deeper in the file than is looked. */
  | 'out_of_reach';

/** Width and height in pixels, as they are stored: before any rotation or cropping that the file asks a viewer for. */
export interface ImageSize {
  readonly width: number;
  readonly height: number;
}

/** Thrown by the readers of image headers, and by nothing else. */
export class HeaderFault extends Error {
  override readonly name = 'HeaderFault';
  /** @param at offset of the byte that was out of reach; 0 for other faults */
  constructor(
    readonly fault: ImageFault,
    readonly at = 0,
  ) {
    super(fault);
  }
}

/** Bytes of a file from `offset` on. */
export interface Window {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/**
 * The part of a file that is kept in memory: its first bytes, and perhaps a window further on. Every read is checked:
 * one past the end of the file throws {@link HeaderFault} `truncated`, one of what is not kept `out_of_reach`.
 */
export class Header {
  /** @param total_bytes length of the whole file */
  constructor(
    readonly head: Uint8Array,
    readonly total_bytes: number,
    private readonly window: Window | null = null,
  ) {}

  u8(at: number): number {
    const byte = this.head[at];
    if (byte !== undefined) return byte;
    if (at >= this.total_bytes) throw new HeaderFault('truncated', at);
    const further = this.window?.bytes[at - this.window.offset];
    if (further === undefined) throw new HeaderFault('out_of_reach', at);
    return further;
  }

  /** An unsigned number of 1 to 6 bytes. They are read in their order, so that a fault names the first that is missing. */
  uint(at: number, bytes: number, little_endian = false): number {
    let value = 0;
    for (let i = 0; i < bytes; i++) {
      const byte = this.u8(at + i);
      value = little_endian ? value + byte * 2 ** (8 * i) : value * 256 + byte;
    }
    return value;
  }

  be16(at: number): number {
    return this.uint(at, 2);
  }

  be32(at: number): number {
    return this.uint(at, 4);
  }

  le16(at: number): number {
    return this.uint(at, 2, true);
  }

  le24(at: number): number {
    return this.uint(at, 3, true);
  }

  le32(at: number): number {
    return this.uint(at, 4, true);
  }

  /** An unsigned number of 8 bytes. Throws `malformed` above 2^53, where no offset or length can be. */
  uint64(at: number, little_endian: boolean): number {
    const first = this.uint(at, 4, little_endian);
    const second = this.uint(at + 4, 4, little_endian);
    const value = little_endian ? second * 2 ** 32 + first : first * 2 ** 32 + second;
    if (!Number.isSafeInteger(value)) throw new HeaderFault('malformed');
    return value;
  }

  /** Do these ASCII letters stand there? */
  is(at: number, letters: string): boolean {
    for (let i = 0; i < letters.length; i++) if (this.u8(at + i) !== letters.charCodeAt(i)) return false;
    return true;
  }

  /** Throws `malformed` when the condition does not hold. */
  assert(holds: boolean): asserts holds {
    if (!holds) throw new HeaderFault('malformed');
  }
}
