import {
  FailShard,
  FileChanged,
  sha256Stream,
  WorkspacePathError,
  type Digest,
  type ExecutorContext,
} from '#hxo/execute';

/** A file as inputs name it. */
export interface NamedFile {
  /** Relative to the root. */
  readonly path: string;
  readonly bytes: number;
}

/**
 * The bytes of a file, which is small enough to be held in memory.
 *
 * Throws {@link FailShard} `FILE_CHANGED` when it is not the file that `expected` is the SHA-256 of.
 */
export async function readWholeFile(
  { workspace, signal }: Pick<ExecutorContext, 'workspace' | 'signal'>,
  root: string,
  { path, bytes }: NamedFile,
  expected: Digest,
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  const hash = sha256Stream();
  try {
    const range = { root, path, expected_bytes: bytes, offset: 0, length: bytes };
    for await (const chunk of workspace.read(range)) {
      signal.throwIfAborted();
      hash.update(chunk);
      chunks.push(chunk);
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
  return Buffer.concat(chunks);
}
