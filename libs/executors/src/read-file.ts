import {
  FailShard,
  FileChanged,
  WorkspacePathError,
  sha256Stream,
  type Digest,
  type ExecutorContext,
} from '#hxo/execute';

/** A file as inputs name it. */
export interface NamedFile {
  /** Relative to the root. */
  readonly path: string;
  readonly bytes: number;
}

/** How a file is read: what of it, all when nothing is said, and into which memory (see `Workspace.read`). */
export interface Reading {
  readonly offset: number;
  readonly length: number;
  readonly into?: Buffer;
}

/**
 * Reads a file, or a range of it, in chunks. Whoever uses a chunk before the last has come must be able to take that back,
 * for only behind it is the SHA-256 of all compared with the `expected` one.
 *
 * Throws {@link FailShard} `FILE_CHANGED` when it is not what it was when the plan was partitioned.
 */
export async function* readFile(
  { workspace, signal }: Pick<ExecutorContext, 'workspace' | 'signal'>,
  root: string,
  { path, bytes }: NamedFile,
  expected: Digest,
  { offset, length, into }: Reading = { offset: 0, length: bytes },
): AsyncGenerator<Uint8Array> {
  const range = { root, path, expected_bytes: bytes, offset, length };
  const hash = sha256Stream();
  try {
    for await (const chunk of workspace.read(range, into)) {
      signal.throwIfAborted();
      hash.update(chunk);
      yield chunk;
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
}

/** The bytes of a file, which is small enough to be held in memory. Throws as {@link readFile} does. */
export async function readWholeFile(
  context: Pick<ExecutorContext, 'workspace' | 'signal'>,
  root: string,
  file: NamedFile,
  expected: Digest,
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of readFile(context, root, file, expected)) chunks.push(chunk);
  return Buffer.concat(chunks);
}
