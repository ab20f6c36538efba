import {
  FailShard,
  FileChanged,
  WorkspacePathError,
  sha256Stream,
  type Digest,
  type Workspace,
} from '#hxo/execute';
import type { DocumentFile } from './inputs.js';

/** Of a longer document only so many bytes are indexed, which bounds the time that any document takes. */
export const document_bytes_max = 1_000_000;

/** A document's text, and whether it is only the beginning. */
export interface ReadDocument {
  readonly source: string;
  readonly cut: boolean;
}

/**
 * Reads the beginning of a document, and all of it for its SHA-256. Bytes that are no UTF-8 become U+FFFD.
 * Throws {@link FailShard} `FILE_CHANGED` when it is not the `expected` one.
 */
export async function readDocument(
  workspace: Workspace,
  root: string,
  { path, bytes }: DocumentFile,
  expected: Digest,
  signal: AbortSignal,
): Promise<ReadDocument> {
  const hash = sha256Stream();
  const kept: Uint8Array[] = [];
  let left = document_bytes_max;
  try {
    for await (const chunk of workspace.read({
      root,
      path,
      expected_bytes: bytes,
      offset: 0,
      length: bytes,
    })) {
      signal.throwIfAborted();
      hash.update(chunk);
      if (left > 0) kept.push(chunk.subarray(0, left));
      left -= chunk.length;
    }
  } catch (error) {
    if (error instanceof FileChanged || error instanceof WorkspacePathError)
      throw new FailShard('FILE_CHANGED', error.message, { cause: error });
    throw error;
  }
  if (hash.digest() !== expected) {
    throw new FailShard(
      'FILE_CHANGED',
      `"${path}" is not what it was when the plan was partitioned. Submit the plan again.`,
    );
  }
  // As a stream, because a letter may have been cut in two: the rest of it is left out.
  const source = new TextDecoder().decode(Buffer.concat(kept), { stream: left < 0 });
  return { source, cut: left < 0 };
}
