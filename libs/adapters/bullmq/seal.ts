import { createHmac, timingSafeEqual } from 'node:crypto';

/** Thrown when a message does not carry the HMAC of the shared key: somebody else wrote it, or the keys differ. */
export class SealBroken extends Error {
  override readonly name = 'SealBroken';
}

/**
 * Seals messages that pass through Redis with HMAC-SHA-256 (RFC 2104) under a shared key: whoever can write to Redis could
 * otherwise slip in work or results. The form is 64 hex digits, then the text. Without a key, texts pass as they are, which
 * is for a Redis on loopback.
 */
export class Seal {
  /** Tells keys apart, and nothing of them: the first 16 hex digits of an HMAC under the key; empty without one. */
  readonly key_id: string;

  constructor(private readonly key: string | null) {
    this.key_id = key === null ? '' : this.mac('key id').slice(0, 16);
  }

  close(text: string): string {
    return this.key === null ? text : this.mac(text) + text;
  }

  /** Throws {@link SealBroken}. */
  open(sealed: string): string {
    if (this.key === null) return sealed;
    const text = sealed.slice(64);
    const given = Buffer.from(sealed.slice(0, 64));
    const right = Buffer.from(this.mac(text));
    if (given.length !== right.length || !timingSafeEqual(given, right)) {
      throw new SealBroken(
        'A message in Redis has no valid HMAC. Give API and workers the same HXO_BUNDLE_KEY.',
      );
    }
    return text;
  }

  private mac(text: string): string {
    return createHmac('sha256', this.key!).update(text).digest('hex');
  }
}
