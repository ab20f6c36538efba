import type { Digest, ExecutorContext } from '#hxo/execute';
import { readFile, type NamedFile } from '../read-file.js';
import type { Asset } from './asset-lines.js';
import { head_bytes, identify, lookFurther, type Identity } from './identify.js';

/**
 * Reads a file once, from its start to its end, and keeps what its identity needs. Never more than its first
 * {@link head_bytes}, and as much further in, are in memory.
 *
 * Throws FailShard `FILE_CHANGED` when it is not what it was when the plan was partitioned.
 */
export async function readAsset(
  file: NamedFile,
  root: string,
  expected: Digest,
  context: Pick<ExecutorContext, 'workspace' | 'signal'>,
): Promise<Asset> {
  const { path, bytes } = file;
  const glimpse = new Glimpse(file);
  for await (const chunk of readFile(context, root, file, expected)) await glimpse.add(chunk);
  return { path, bytes, sha256: expected, identity: await glimpse.identity() };
}

/** Keeps the start of a file, and a window further in if its identity asks for one, while the file goes by. */
class Glimpse {
  #offset = 0;
  #head: Uint8Array = Buffer.alloc(0);
  #identity: Identity | undefined;
  readonly #window: Uint8Array[] = [];

  constructor(private readonly file: NamedFile) {}

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
