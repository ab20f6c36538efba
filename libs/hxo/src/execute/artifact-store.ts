import type { Readable } from 'node:stream';
import type { Digest } from '#truth';

/** A blob: stored under the SHA-256 of its bytes. */
export interface ArtifactRef {
  readonly digest: Digest;
  /** Length of the blob in bytes. */
  readonly bytes: number;
}

/** Thrown when an artifact is asked for that the store does not hold. */
export class ArtifactMissing extends Error {
  override readonly name = 'ArtifactMissing';
  constructor(readonly digest: Digest) {
    super(`Artifact ${digest} is not in the store. If files were deleted by hand, submit the plan again.`);
  }
}

/** Content-addressed blobs. Any number of processes may share one store. */
export interface ArtifactStore {
  /**
   * Stores the bytes unless they are there already. Resolves only after the bytes and their name are durable.
   * Retries nothing: on an error (a full disk, say) nothing is stored under the digest.
   */
  put(bytes: Uint8Array | AsyncIterable<Uint8Array>): Promise<ArtifactRef>;
  /** Opens a blob for reading. Throws {@link ArtifactMissing}. The reader checks the digest, if it cares. */
  open(digest: Digest): Promise<Readable>;
  /** The blob's length in bytes, or null when it is not there. */
  size(digest: Digest): Promise<number | null>;
  /** Re-reads the blob and compares its hash. */
  verify(digest: Digest): Promise<'ok' | 'missing' | 'corrupt'>;
  /** Moves a corrupt blob aside, so that the next `put` of its digest stores it anew. */
  quarantine(digest: Digest): Promise<void>;
}
