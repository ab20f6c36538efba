import type { Json } from '#truth';
import { field } from '../plan/config-fields.js';
import { globFault } from '../plan/glob-fault.js';
import { ConfigError } from '../plan/stage-config.js';

/** Route → file or glob. */
export type RouteMap = Readonly<Record<string, string>>;

const routes_max = 1000;
const urls_max = 100_000;
const route_chars_max = 4096;

/**
 * One slash at the start, and no backslash, which URL parsers take for one: a route joined to a base URL must not lead
 * to another host.
 */
const route_shape = /^\/(?!\/)[^\s\\\p{Cc}]*$/u;

/** Which pages: prefixes, or a map; null is every page that is found. */
export const routes = field<readonly string[] | RouteMap | null>(
  null,
  {
    meaning: `prefixes of routes, such as \`["/guide"]\`: only pages at or below one; \`[]\` takes no file. Or a map from route to file, folder or glob relative to \`root\`, such as \`{"/guide": "manual/**/*.md"}\`. ${routes_max.toLocaleString('en')} at most`,
    default_text: 'every page below `root`',
  },
  (value, name) => {
    if (Array.isArray(value) && value.length <= routes_max) {
      return (value as readonly Json[]).map((each) => withoutSlash(route(each, name)));
    }
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      const entries = Object.entries(value);
      if (entries.length <= routes_max) {
        return Object.fromEntries(
          entries.map(([key, glob]) => [withoutSlash(route(key, name)), target(key, glob, name)]),
        );
      }
    }
    throw new ConfigError(
      name,
      `${name} must be a list of prefixes such as ["/guide"], or map routes to files or globs; ${routes_max} at most.`,
    );
  },
);

/** Routes without a file. */
export const urls = field<readonly string[]>(
  [],
  {
    meaning: `further routes that have no file, such as \`["/", "/live?tab=1"]\`, for \`prime_caches\`; ${urls_max.toLocaleString('en')} at most`,
    default_text: 'none',
  },
  (value, name) => {
    if (Array.isArray(value) && value.length <= urls_max)
      return (value as readonly Json[]).map((each) => route(each, name));
    throw new ConfigError(name, `${name} must be a list of at most ${urls_max} routes such as ["/live"].`);
  },
);

function route(value: Json, name: string): string {
  if (typeof value === 'string' && value.length <= route_chars_max && route_shape.test(value)) return value;
  throw new ConfigError(
    name,
    `${name}: ${JSON.stringify(value).slice(0, 200)} is not a route. Write one that begins with one "/" and has no blanks or backslashes, such as "/guide".`,
  );
}

function withoutSlash(route: string): string {
  return route.replace(/\/+$/, '') || '/';
}

function target(route: string, glob: Json, name: string): string {
  const isText = typeof glob === 'string' && glob !== '' && glob.length <= route_chars_max;
  const fault = isText ? globFault(glob) : 'is not a file or glob.';
  if (fault === null) return glob as string;
  throw new ConfigError(
    name,
    `${name}: ${JSON.stringify(glob).slice(0, 200)} of ${JSON.stringify(route)} ${fault}`,
  );
}
