import { closeSync, constants, fstatSync, lstatSync, openSync, readSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { FileChanged, WorkspacePathError, type FileRange } from '#hxo/execute';
import { checkedPath, isInPlace } from './contained-path.js';
import type { Forbidden } from './forbidden.js';
import { reading } from './unreadable.js';

/** Bytes that are read at once. */
export const chunk_bytes = 256 * 1024;

/** O_NONBLOCK, because opening a FIFO that took a file's place would wait for a writer. */
const open_flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** A regular file of the workspace, open to read a range of it. */
export class OpenFile {
  private constructor(
    private readonly shown: string,
    private readonly fd: number,
    private readonly before: Stats,
    private readonly range: FileRange,
  ) {}

  /** Throws {@link WorkspacePathError}, or {@link FileChanged} when the file's size is not the expected one. */
  static open(root: string, range: FileRange, forbidden: Forbidden): OpenFile {
    const folder = checkedPath(range.root, forbidden);
    const inside = checkedPath(range.path, forbidden);
    const shown = folder === '' ? inside : `${folder}/${inside}`;
    const { fd, before } = openRegular(root, shown, forbidden);
    const file = new OpenFile(shown, fd, before, range);
    if (before.size === range.expected_bytes) return file;
    file.close();
    throw file.changed();
  }

  /** The range's bytes, each chunk in memory of its own or all in `into`. */
  *chunks(into?: Buffer): Generator<Uint8Array> {
    const { offset, length } = this.range;
    for (let done = 0; done < length;) {
      const wanted = Math.min(into?.length ?? chunk_bytes, length - done);
      const chunk = into ?? Buffer.allocUnsafe(wanted);
      const got = readSync(this.fd, chunk, 0, wanted, offset + done);
      if (got === 0) throw this.changed();
      yield got === chunk.length ? chunk : chunk.subarray(0, got);
      done += got;
    }
  }

  /** Throws {@link FileChanged} when the file is not what it was when it was opened. */
  checkUnchanged(): void {
    const after = fstatSync(this.fd);
    if (after.size !== this.before.size || after.mtimeMs !== this.before.mtimeMs) throw this.changed();
  }

  close(): void {
    closeSync(this.fd);
  }

  private changed(): FileChanged {
    return new FileChanged(
      `"${this.shown}" changed while the plan was at work. Submit the plan again when nothing writes to it.`,
    );
  }
}

/**
 * Opens a regular file. The name is checked after the opening, and must still lead to the very file that is open:
 * a folder swapped for a symbolic link meanwhile cannot lead outside.
 */
function openRegular(root: string, path: string, forbidden: Forbidden): { fd: number; before: Stats } {
  const absolute = join(root, path);
  const fd = reading(path, () => openSync(absolute, open_flags));
  try {
    const before = fstatSync(fd);
    const named = isInPlace(root, absolute, forbidden) ? lstatSync(absolute) : null;
    if (!before.isFile() || named === null || named.ino !== before.ino || named.dev !== before.dev) {
      throw new WorkspacePathError(
        `"${path}" is not a regular file of the workspace. Submit the plan again.`,
      );
    }
    return { fd, before };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
