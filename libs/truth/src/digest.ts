import { createHash, hash, type BinaryLike } from 'node:crypto';

/** A SHA-256 digest as 64 lower-case hex digits. Minted only by {@link parseDigest} and {@link sha256}. */
export type Digest = string & { readonly __brand: 'Digest' };

/** Thrown when a text that should be a digest is not 64 lower-case hex digits. */
export class DigestSyntaxError extends Error {
  override readonly name = 'DigestSyntaxError';
}

/** Parses 64 lower-case hex digits. Throws {@link DigestSyntaxError}. */
export function parseDigest(text: unknown): Digest {
  if (!isDigest(text)) {
    throw new DigestSyntaxError(
      `Expected a SHA-256 digest of 64 lower-case hex digits, got ${describe(text)}.`,
    );
  }
  return text;
}

/** True for 64 lower-case hex digits. */
export function isDigest(text: unknown): text is Digest {
  return typeof text === 'string' && /^[0-9a-f]{64}$/.test(text);
}

/** SHA-256 of bytes, or of a text's UTF-8 bytes. */
export function sha256(data: BinaryLike): Digest {
  return hash('sha256', data, 'hex') as Digest;
}

/** An incremental SHA-256: feed it with `update`, read it once with `digest`. */
export function sha256Stream(): { update(bytes: Uint8Array): void; digest(): Digest } {
  const running = createHash('sha256');
  return {
    update: (bytes) => void running.update(bytes),
    digest: () => running.digest('hex') as Digest,
  };
}

/** The 32 bytes that a digest names. */
export function digestBytes(digest: Digest): Buffer {
  return Buffer.from(digest, 'hex');
}

/** The digest that 32 bytes are. Throws {@link DigestSyntaxError} on any other length. */
export function digestOf(bytes: Uint8Array): Digest {
  return parseDigest(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex'));
}

function describe(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 80)) : typeof value;
}
