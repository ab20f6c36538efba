import { realpathSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { WorkspacePathError } from '#hxo/execute';
import { isAtOrBelow, type Forbidden } from './forbidden.js';

/** A relative path without `.` and empty names; `''` is the workspace itself. Refuses whatever would leave it. */
export function checkedPath(path: string, forbidden: Forbidden): string {
  const names = path.split('/').filter((name) => name !== '' && name !== '.');
  if (isAbsolute(path) || names.includes('..') || path.includes('\0')) {
    throw new WorkspacePathError(
      `${JSON.stringify(path)} would leave the workspace. Use a path relative to the workspace, without "..".`,
    );
  }
  if (names.some((name) => forbidden.name(name))) {
    throw new WorkspacePathError(
      `"${path}" is never read: .git, .hxo and .env files are out of every plan's reach.`,
    );
  }
  return names.join('/');
}

/** True when the path exists, leads through no symbolic link, and is not forbidden. */
export function isInPlace(root: string, absolute: string, forbidden: Forbidden): boolean {
  const clean = absolute.length > 1 && absolute.endsWith('/') ? absolute.slice(0, -1) : absolute;
  try {
    return realpathSync.native(clean) === clean && isAtOrBelow(clean, root) && !forbidden.place(clean);
  } catch {
    return false;
  }
}
