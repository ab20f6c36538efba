import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readSync,
  realpathSync,
  type Stats,
} from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { FileChanged, WorkspacePathError, type Workspace } from '#hxo/execute';
import { forbid, isAtOrBelow, type Forbidden } from './forbidden.js';
import { Turns } from './turns.js';
import { reading } from './unreadable.js';
import { walk } from './walk.js';

/** Bytes handed out at once by `read`. */
const chunk_bytes = 256 * 1024;

/** O_NONBLOCK, because opening a FIFO that took a file's place would wait for a writer. */
const open_flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

export interface WorkspaceOptions {
  /** Folder that plans read. */
  readonly root: string;
  /** Absolute paths of HXO's own state (home, database, artifacts, journal, keys, logs); they need not exist. */
  readonly forbidden: readonly string[];
}

/**
 * The workspace as a folder of this machine. Its calls block for milliseconds at a time while they read, so use it in
 * worker threads and processes, never in one that serves requests.
 *
 * Only .gitignore files inside the workspace count; a user's global excludes and `.git/info/exclude` do not, so that
 * every machine lists the same. A glob that matches a folder stands for all below it. A hard link cannot be told from
 * the file that it links to, and is read as a regular file.
 *
 * Throws {@link WorkspacePathError} when `root` is not a folder, or lies inside a forbidden place.
 *
 * @param signal ends listings and reads within milliseconds: they throw its reason
 */
export function createWorkspace(options: WorkspaceOptions, signal?: AbortSignal): Workspace {
  const root = realRoot(options.root);
  const forbidden = forbid(options.forbidden);
  if (forbidden.place(root)) {
    throw new WorkspacePathError(
      `The workspace ${options.root} lies inside HXO's own state. Set HXO_WORKSPACE to the folder to work on, or move HXO_HOME.`,
    );
  }
  const turns = new Turns(signal);
  return {
    list: async (listing) => {
      const folder = checkedPath(listing.root, forbidden);
      const absolute = join(root, folder);
      if (!isInPlace(root, absolute, forbidden) || !lstatSync(absolute).isDirectory()) {
        throw new WorkspacePathError(
          `"${listing.root}" is not a folder of the workspace. Name a folder relative to the workspace; symbolic links are not followed.`,
        );
      }
      return walk(root, folder === '' ? '' : folder + '/', listing, forbidden, turns);
    },
    read: async function* (file) {
      const path = checkedPath(file.root, forbidden);
      const inside = checkedPath(file.path, forbidden);
      const shown = path === '' ? inside : `${path}/${inside}`;
      const { fd, before } = openRegular(root, shown, forbidden);
      try {
        checkUnchanged(shown, before.size === file.expected_bytes);
        for (const chunk of chunks(fd, shown, file.offset, file.length)) {
          yield chunk;
          if (turns.due()) await turns.take();
        }
        const after = fstatSync(fd);
        checkUnchanged(shown, after.size === before.size && after.mtimeMs === before.mtimeMs);
      } finally {
        closeSync(fd);
      }
    },
  };
}

function realRoot(root: string): string {
  try {
    const real = realpathSync.native(root);
    if (lstatSync(real).isDirectory()) return real;
  } catch {
    // Said below, in words that help.
  }
  throw new WorkspacePathError(
    `The workspace ${root} is not a folder. Set HXO_WORKSPACE to a folder that exists.`,
  );
}

/** A relative path without `.` and empty names; `''` is the workspace itself. Refuses whatever would leave it. */
function checkedPath(path: string, forbidden: Forbidden): string {
  const names = path.split('/').filter((name) => name !== '' && name !== '.');
  if (isAbsolute(path) || names.includes('..') || path.includes('\0')) {
    throw new WorkspacePathError(
      `${JSON.stringify(path)} would leave the workspace. Use a path relative to the workspace, without "..".`,
    );
  }
  if (names.some((name) => forbidden.name(name))) {
    throw new WorkspacePathError(
      `"${path}" is never read: .git and .env files are out of every plan's reach.`,
    );
  }
  return names.join('/');
}

/** True when the path exists, leads through no symbolic link, and is not forbidden. */
function isInPlace(root: string, absolute: string, forbidden: Forbidden): boolean {
  const clean = absolute.length > 1 && absolute.endsWith('/') ? absolute.slice(0, -1) : absolute;
  try {
    return realpathSync.native(clean) === clean && isAtOrBelow(clean, root) && !forbidden.place(clean);
  } catch {
    return false;
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

function* chunks(fd: number, path: string, offset: number, length: number): Generator<Uint8Array> {
  for (let done = 0; done < length;) {
    const chunk = Buffer.allocUnsafe(Math.min(chunk_bytes, length - done));
    const got = readSync(fd, chunk, 0, chunk.length, offset + done);
    checkUnchanged(path, got > 0);
    yield got === chunk.length ? chunk : chunk.subarray(0, got);
    done += got;
  }
}

function checkUnchanged(path: string, unchanged: boolean): void {
  if (unchanged) return;
  throw new FileChanged(
    `"${path}" changed while the plan was at work. Submit the plan again when nothing writes to it.`,
  );
}
