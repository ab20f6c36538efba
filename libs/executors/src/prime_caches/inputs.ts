import { cache_value_bytes_max, type Json } from '#hxo/execute';
import type { NamedFile } from '../read-file.js';
import { ShardInputs } from '../shard-inputs.js';
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

const expected = new ShardInputs(
  'prime_caches primes {root, files: [[path, bytes, mode], …]} or {root, pages: [[route, path, bytes], …]}. Use the partitioner by_dag_depth, by_module or by_route_map.',
);

/**
 * Reads the inputs that by_dag_depth, by_module and by_route_map make, with the stage's options. Throws
 * {@link FailShard} on any other shape.
 */
export function parseInputs(inputs: Json): PrimeInputs {
  const { root, files, part, pages, options } = expected.record(inputs);
  const base = expected.anyText(root);
  // They were parsed when the plan was submitted, and are part of the content id since.
  const parsed = expected.record(options) as unknown as PrimeOptions;
  if (Array.isArray(pages)) return { mode: 'urls', routes: pages.map(routeOf), options: parsed };
  const whole = Array.isArray(files);
  const rows = whole ? (files as readonly Json[]) : [part];
  const named = rows.map((row) => expected.file(row));
  return { mode: 'content', root: base, files: named, part: !whole, options: parsed };
}

function routeOf(row: Json): string {
  const [route] = expected.list(row);
  return expected.anyText(route);
}
