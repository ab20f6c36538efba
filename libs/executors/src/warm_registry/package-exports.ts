import type { Json } from '#hxo/execute';
import { insideModule } from './inside-module.js';

/** Conditions inside conditions that are followed. Real packages have three or four. */
const depth_max = 32;

/** Subpath → files that it may lead to, under any condition; `[]` is a subpath that is closed. */
export type Subpaths = Readonly<Record<string, readonly string[]>>;

/**
 * The subpaths of package.json's `exports`, as Node reads it: a target, or a map of conditions, stands for `.`; a key that
 * begins with a dot is a subpath, patterns with `*` included; of a list any may be taken.
 *
 * Throws RangeError when conditions are nested deeper than 32.
 *
 * Source: https://nodejs.org/api/packages.html#package-entry-points
 */
export function subpathsOf(exports: Json | undefined): Subpaths {
  if (exports === undefined) return {};
  const by_subpath =
    typeof exports === 'object' && exports !== null && !Array.isArray(exports)
      ? Object.entries(exports).filter(([key]) => key.startsWith('.') && key.isWellFormed())
      : [];
  const entries = by_subpath.length > 0 ? by_subpath : [['.', exports] as const];
  return Object.fromEntries(
    entries.map(([subpath, target]) => [subpath, [...new Set(targetsOf(target, 0))].sort()]),
  );
}

function targetsOf(target: Json, depth: number): string[] {
  if (depth > depth_max) throw new RangeError(`its "exports" are nested deeper than ${depth_max}`);
  if (typeof target === 'string') {
    const path = target.startsWith('./') ? insideModule(target) : null;
    return path === null ? [] : [path];
  }
  if (typeof target !== 'object' || target === null) return [];
  return Object.values(target).flatMap((each: Json) => targetsOf(each, depth + 1));
}
