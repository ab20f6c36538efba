import { lstatSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { WorkspacePathError, sha256Stream, type Workspace } from '#hxo/execute';
import { checkedPath, isInPlace } from './contained-path.js';
import { forbid, type ForbiddenFiles } from './forbidden.js';
import { OpenFile, chunk_bytes } from './open-file.js';
import { Turns } from './turns.js';
import { walk } from './walk.js';

/** What is hashed lies here. All of a thread's readings may share it, for a chunk is read and hashed in one turn. */
const hashed_chunk = Buffer.allocUnsafeSlow(chunk_bytes);

export interface WorkspaceOptions extends ForbiddenFiles {
  /** Folder that plans read. */
  readonly root: string;
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
  const forbidden = forbid(options);
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
    read: async function* (range, into) {
      const file = OpenFile.open(root, range, forbidden);
      try {
        for (const chunk of file.chunks(into)) {
          yield chunk;
          if (turns.due()) await turns.take();
        }
        file.checkUnchanged();
      } finally {
        file.close();
      }
    },
    digest: async (range) => {
      const file = OpenFile.open(root, range, forbidden);
      try {
        const hash = sha256Stream();
        for (const chunk of file.chunks(hashed_chunk)) {
          hash.update(chunk);
          if (turns.due()) await turns.take();
        }
        file.checkUnchanged();
        return hash.digest();
      } finally {
        file.close();
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
