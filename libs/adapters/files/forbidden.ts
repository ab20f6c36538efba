import { realpathSync } from 'node:fs';
import { basename, dirname, join, resolve, sep } from 'node:path';

/** Tells which names and places no plan may read, whatever its globs say. */
export interface Forbidden {
  /** A file or folder name that is never listed nor read: `.git`, and `.env` with all that begins so. */
  name(name: string): boolean;
  /** An absolute path at or below a forbidden place. */
  place(absolute: string): boolean;
}

/** `places` are absolute paths of HXO's own state; they need not exist yet. */
export function forbid(places: readonly string[]): Forbidden {
  const real = places.map(realpathOfWhatMayCome);
  return { name: isForbiddenName, place: (absolute) => real.some((place) => isAtOrBelow(absolute, place)) };
}

function isForbiddenName(name: string): boolean {
  // File systems that fold case would open `.GIT` as `.git`.
  const folded = name.toLowerCase();
  return folded === '.git' || folded.startsWith('.env');
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
