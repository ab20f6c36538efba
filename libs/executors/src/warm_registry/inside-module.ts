import { posix } from 'node:path';
import type { Json } from '#hxo/execute';

/** A path of a package.json as relative to its module, without `./`; null when it is none, or would leave the module. */
export function insideModule(path: Json | undefined): string | null {
  if (typeof path !== 'string' || path === '' || !path.isWellFormed()) return null;
  const normal = posix.normalize(path).replace(/\/$/, '');
  return normal === '.' || normal.startsWith('/') || normal.split('/')[0] === '..' ? null : normal;
}
