import { hash_bytes } from '#truth';

/** Bytes of a {@link HashList}'s chunks: small ones first, since most stages are small. */
const chunk_bytes_min = 1_024;
const chunk_bytes_max = 131_072;

/** Hashes of 32 bytes in chunks, so that a list of millions grows without being copied. */
export class HashList {
  private readonly chunks: Buffer[] = [];
  private open = Buffer.alloc(0);
  private used = 0;

  /** Adds a hash whose bytes are characters. */
  addLatin1(hash: string): void {
    if (this.used === this.open.length) this.openChunk();
    this.used += this.open.write(hash, this.used, hash_bytes, 'latin1');
  }

  /** Adds the hashes of another list, which is not to be added to afterwards. */
  append(other: HashList): void {
    this.close();
    other.close();
    this.chunks.push(...other.chunks);
  }

  /** How many there are. */
  get size(): number {
    return this.chunks.reduce((bytes, chunk) => bytes + chunk.length, this.used) / hash_bytes;
  }

  /** All hashes, one after the other, as they lie in memory. */
  parts(): readonly Buffer[] {
    this.close();
    return this.chunks;
  }

  /** All hashes in one buffer. */
  bytes(): Buffer {
    return Buffer.concat(this.parts());
  }

  private openChunk(): void {
    this.close();
    this.open = Buffer.alloc(Math.min(chunk_bytes_max, chunk_bytes_min << Math.min(this.chunks.length, 8)));
  }

  private close(): void {
    if (this.used > 0) this.chunks.push(this.open.subarray(0, this.used));
    this.open = Buffer.alloc(0);
    this.used = 0;
  }
}
