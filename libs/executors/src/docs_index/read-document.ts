import type { Digest, ExecutorContext } from '#hxo/execute';
import { readFile } from '../read-file.js';
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
 * Throws FailShard `FILE_CHANGED` when it is not the `expected` one.
 */
export async function readDocument(
  context: Pick<ExecutorContext, 'workspace' | 'signal'>,
  root: string,
  file: DocumentFile,
  expected: Digest,
): Promise<ReadDocument> {
  const kept: Uint8Array[] = [];
  let left = document_bytes_max;
  for await (const chunk of readFile(context, root, file, expected)) {
    if (left > 0) kept.push(chunk.subarray(0, left));
    left -= chunk.length;
  }
  // As a stream, because a letter may have been cut in two: the rest of it is left out.
  const source = new TextDecoder().decode(Buffer.concat(kept), { stream: left < 0 });
  return { source, cut: left < 0 };
}
