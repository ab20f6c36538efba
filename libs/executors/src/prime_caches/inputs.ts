import { cache_value_bytes_max, FailShard, type Json } from '#hxo/execute';
import type { NamedFile } from '../read-file.js';
import type { PrimeOptions } from './options.js';

/** Files whose contents go into the content cache. */
export interface ContentInputs {
  readonly mode: 'content';
  readonly options: PrimeOptions;
  readonly root: string;
  readonly files: readonly NamedFile[];
  /** The one file is a range of a file that was cut: not a content of its own. */
  readonly part: boolean;
}

/** Pages that are asked for. */
export interface UrlInputs {
  readonly mode: 'urls';
  readonly options: PrimeOptions;
  readonly routes: readonly string[];
}

export type PrimeInputs = ContentInputs | UrlInputs;

/** Is this file's content put into the cache? One that is too long, or only a range of one, is left out. */
export function isPut({ part }: ContentInputs, { bytes }: { readonly bytes: number }): boolean {
  return !part && bytes <= cache_value_bytes_max;
}

/**
 * Reads the inputs that by_dag_depth, by_module and by_route_map make, with the stage's options. Throws
 * {@link FailShard} on any other shape.
 */
export function parseInputs(inputs: Json): PrimeInputs {
  const { root, files, part, pages, options } = (isRecord(inputs) ? inputs : {}) as Record<
    string,
    Json | undefined
  >;
  if (typeof root !== 'string' || options === undefined || !isRecord(options)) throw badInputs();
  // They were parsed when the plan was submitted, and are part of the content id since.
  const parsed = options as unknown as PrimeOptions;
  if (Array.isArray(pages)) return { mode: 'urls', routes: pages.map(routeOf), options: parsed };
  if (Array.isArray(files))
    return { mode: 'content', root, files: files.map(fileOf), part: false, options: parsed };
  if (part !== undefined)
    return { mode: 'content', root, files: [fileOf(part)], part: true, options: parsed };
  throw badInputs();
}

function fileOf(row: Json): NamedFile {
  const [path, bytes] = Array.isArray(row) ? (row as readonly Json[]) : [];
  if (typeof path !== 'string' || path === '' || !Number.isSafeInteger(bytes) || (bytes as number) < 0)
    throw badInputs();
  return { path, bytes: bytes as number };
}

function routeOf(row: Json): string {
  const [route] = Array.isArray(row) ? (row as readonly Json[]) : [];
  if (typeof route !== 'string') throw badInputs();
  return route;
}

function isRecord(value: Json): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function badInputs(): FailShard {
  return new FailShard(
    'BAD_INPUTS',
    'prime_caches primes {root, files: [[path, bytes, mode], …]} or {root, pages: [[route, path, bytes], …]}. Use the partitioner by_dag_depth, by_module or by_route_map.',
  );
}
