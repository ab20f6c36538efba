import { mkdir, open, type FileHandle } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { sha256Stream } from '#hxo/execute';
import type { ManifestEntry } from './manifest.js';
import { UnpackError } from './unpack-error.js';

/** Writes files of one folder, and puts the ranges of large ones together. Knows nothing of tar. */
export class Restorer {
  /** The file whose ranges are coming in, and how far. */
  private open: { path: string; total_bytes: number; next_offset: number; pack: string } | null = null;
  private readonly folders = new Set<string>();

  constructor(private readonly into: string) {}

  /** Writes one entry and checks its length and digest. `pack` is the tar's digest, for error messages. */
  async write(entry: ManifestEntry, chunks: AsyncIterable<Uint8Array>, pack: string): Promise<void> {
    checkPath(entry.path, pack);
    this.checkTurn(entry, pack);
    const file = await this.openFile(entry, pack);
    try {
      const hash = sha256Stream();
      let position = entry.offset;
      for await (const chunk of chunks) {
        hash.update(chunk);
        await writeAll(file, chunk, position);
        position += chunk.length;
      }
      if (position - entry.offset !== entry.length || hash.digest() !== entry.digest) {
        throw damaged(entry.path, pack, 'does not match its SHA-256 in the manifest');
      }
      // The mode given to open() went through the umask.
      await file.chmod(entry.executable ? 0o755 : 0o644);
    } finally {
      await file.close();
    }
  }

  /** Throws {@link UnpackError} when a file lacks its last range. */
  finish(): void {
    if (this.open !== null) throw damaged(this.open.path, this.open.pack, 'lacks its last part');
  }

  /** Ranges of a file follow each other without gap, and nothing comes between. */
  private checkTurn(entry: ManifestEntry, pack: string): void {
    const { path, offset, length, total_bytes } = entry;
    const expected = this.open;
    const inTurn =
      expected === null
        ? offset === 0
        : path === expected.path && offset === expected.next_offset && total_bytes === expected.total_bytes;
    if (!inTurn) throw damaged(expected?.path ?? path, pack, 'lacks a part, or has its parts out of order');
    const next_offset = offset + length;
    this.open = next_offset < total_bytes ? { path, total_bytes, next_offset, pack } : null;
  }

  private async openFile({ path, offset }: ManifestEntry, pack: string): Promise<FileHandle> {
    const target = join(this.into, path);
    try {
      if (!this.folders.has(dirname(target))) {
        await mkdir(dirname(target), { recursive: true });
        this.folders.add(dirname(target));
      }
      return await open(target, offset === 0 ? 'wx' : 'r+', 0o644);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? '';
      if (!['EEXIST', 'ENOTDIR', 'EISDIR'].includes(code)) throw error;
      throw damaged(path, pack, 'comes twice, or is both a file and a folder', error);
    }
  }
}

/** Refuses names that lead out of the folder. A backslash is a letter of a name where it does not separate names. */
function checkPath(path: string, pack: string): void {
  const names = path.split('/');
  const leads = names.some((name) => name === '' || name === '.' || name === '..');
  if (leads || /\p{Cc}/u.test(path)) {
    throw new UnpackError(
      `${JSON.stringify(path)} in pack ${pack} is not a path inside the folder. The manifest is not one that HXO wrote; get it again.`,
    );
  }
  if (sep === '\\' && path.includes(sep)) {
    throw new UnpackError(
      `"${path}" in pack ${pack} cannot be a name on this system. Restore it on another one.`,
    );
  }
}

export function damaged(path: string, pack: string, why: string, cause?: unknown): UnpackError {
  return new UnpackError(
    `"${path}" in pack ${pack} ${why}. Get manifest and blob again, or submit the plan again.`,
    { cause },
  );
}

async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
  }
}
