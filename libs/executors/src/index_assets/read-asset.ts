import {
  FailShard,
  FileChanged,
  WorkspacePathError,
  sha256Stream,
  type Digest,
  type ExecutorContext,
} from '#hxo/execute';
import type { Asset } from './asset-lines.js';
import { head_bytes, identify, lookFurther, type Identity } from './identify.js';
import type { AssetFile } from './inputs.js';

/**
 * Reads a file once, from its start to its end: hashes it, and keeps what its identity needs. Never more than its first
 * {@link head_bytes}, and as much further in, are in memory.
 *
 * Throws {@link FailShard} `FILE_CHANGED` when it is not what it was when the plan was partitioned.
 */
export async function readAsset(
  file: AssetFile,
  root: string,
  expected: Digest | undefined,
  { workspace, signal }: Pick<ExecutorContext, 'workspace' | 'signal'>,
): Promise<Asset> {
  const { path, bytes } = file;
  const hash = sha256Stream();
  const glimpse = new Glimpse(file);
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
      await glimpse.add(chunk);
    }
  } catch (error) {
    if (error instanceof FileChanged || error instanceof WorkspacePathError)
      throw new FailShard('FILE_CHANGED', error.message, { cause: error });
    throw error;
  }
  const sha256 = hash.digest();
  if (sha256 !== expected) {
    throw new FailShard(
      'FILE_CHANGED',
      `"${path}" is not what it was when the plan was partitioned. Submit the plan again.`,
    );
  }
  return { path, bytes, sha256, identity: await glimpse.identity() };
}

/** Keeps the start of a file, and a window further in if its identity asks for one, while the file goes by. */
class Glimpse {
  #offset = 0;
  #head: Uint8Array = Buffer.alloc(0);
  #identity: Identity | undefined;
  readonly #window: Uint8Array[] = [];

  constructor(private readonly file: AssetFile) {}

  async add(chunk: Uint8Array): Promise<void> {
    const room = head_bytes - this.#head.length;
    if (room > 0) {
      const piece = chunk.subarray(0, room);
      this.#head = this.#head.length === 0 ? piece : Buffer.concat([this.#head, piece]);
      if (this.#head.length === head_bytes) this.#identity = await this.#identify();
    }
    this.#keepWindow(chunk);
    this.#offset += chunk.length;
  }

  async identity(): Promise<Identity> {
    const identity = this.#identity ?? (await this.#identify());
    if (identity.wanted_from === undefined) return identity;
    const window = { offset: identity.wanted_from, bytes: Buffer.concat(this.#window) };
    return lookFurther(identity, this.#head, this.file.bytes, window);
  }

  #identify(): Promise<Identity> {
    return identify(this.#head, this.file.bytes, this.file.path);
  }

  #keepWindow(chunk: Uint8Array): void {
    const from = this.#identity?.wanted_from;
    if (from === undefined) return;
    const start = Math.max(0, from - this.#offset);
    const end = from + head_bytes - this.#offset;
    if (start < chunk.length && end > 0) this.#window.push(chunk.subarray(start, end));
  }
}
