import { realpathSync } from 'node:fs';
import { basename, dirname, join, resolve, sep } from 'node:path';

/** Tells which names and places no plan may read, whatever its globs say. */
export interface Forbidden {
  /**
   * A file or folder name that is never listed nor read: `.git`, `.hxo`, and `.env` with all that begins so. This process
   * may have its home elsewhere, a container does, and a `.hxo` still hold the keys of another.
   */
  name(name: string): boolean;
  /** An absolute path at or below a forbidden place. */
  place(absolute: string): boolean;
}

/** Files and folders that no plan may read, as absolute paths; they need not exist yet. */
export interface ForbiddenFiles {
  /** HXO's own state (home, database, artifacts, journal, keys, tokens, logs), with all below. */
  readonly forbidden: readonly string[];
  /** SQLite databases, with the journals that SQLite keeps beside them. */
  readonly databases?: readonly string[];
  /** Log files, with what a rotation makes of them: `app.log.1`, `app.log.2.gz`, `app.log-20260131`, `app.log.old`. */
  readonly logs?: readonly string[];
}

/** What follows the name of a database in those of its journals. */
const journal = /^-(?:wal|shm|journal)$/;
/** What follows the name of a log in those of its rotated parts. Not just any ending: beside a log `hxo` may lie an `hxo.ts`. */
const rotated = /^(?:[.-]\d|\.old)/;

export function forbid({ forbidden, databases = [], logs = [] }: ForbiddenFiles): Forbidden {
  // SQLite keeps the journals of a linked database beside the real one: links are followed before endings are looked at.
  const companions = [
    ...databases.map((path) => ({ path: realpathOfWhatMayCome(path), ending: journal })),
    ...logs.map((path) => ({ path: realpathOfWhatMayCome(path), ending: rotated })),
  ];
  const places = [...forbidden.map(realpathOfWhatMayCome), ...companions.map(({ path }) => path)];
  return {
    name: isForbiddenName,
    place: (absolute) =>
      places.some((place) => isAtOrBelow(absolute, place)) ||
      companions.some(
        ({ path, ending }) => absolute.startsWith(path) && ending.test(absolute.slice(path.length)),
      ),
  };
}

function isForbiddenName(name: string): boolean {
  // File systems that fold case would open `.GIT` as `.git`.
  const folded = name.toLowerCase();
  return folded === '.git' || folded === '.hxo' || folded.startsWith('.env');
}

export function isAtOrBelow(path: string, place: string): boolean {
  return path === place || path.startsWith(place.endsWith(sep) ? place : place + sep);
}

/** The path with symbolic links followed as far as it exists: HXO may make the rest later. */
function realpathOfWhatMayCome(path: string): string {
  const absolute = resolve(path);
  try {
    return realpathSync.native(absolute);
  } catch {
    const parent = dirname(absolute);
    return parent === absolute ? absolute : join(realpathOfWhatMayCome(parent), basename(absolute));
  }
}
