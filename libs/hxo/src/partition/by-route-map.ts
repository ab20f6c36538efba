import picomatch from 'picomatch';
import type { Digest, Json } from '#truth';
import { WorkspacePathError, type Workspace, type WorkspaceFile } from '../execute/workspace.js';
import { folder, wholeNumber } from '../plan/config-fields.js';
import { glob_options, normalGlob, patternsOf } from '../plan/globs.js';
import { ConfigError, parseFields, type ConfigField, type ConfigFields } from '../plan/stage-config.js';
import { bytes_per_mb, chunk_size_mb, file_fields } from './by-filesize.js';
import { cutIntoBins } from './by-filesize-bins.js';
import type { Partitioner, PartitionSummary, ShardDraft } from './contract.js';
import { digestFile } from './file-inputs.js';
import { isDocument, routesOf } from './page-routes.js';
import { routes, urls, type RouteMap } from './route-fields.js';

/** Where documentation lies when a plan does not say. */
const docs_folder = 'docs';

/** More pages in one shard would make its inputs unwieldy. */
const pages_per_shard_max = 4096;

/** Prefixes that an error names, so that it stays readable. */
const named_prefixes_max = 20;

/** `config` of a stage, with its defaults filled in. */
export interface ByRouteMapConfig {
  /** Null: `docs`, if the workspace has it, else the workspace itself. */
  readonly root: string | null;
  readonly include: readonly string[];
  readonly exclude: readonly string[];
  readonly gitignore: boolean;
  /** Null: every page that is found. */
  readonly routes: readonly string[] | RouteMap | null;
  readonly urls: readonly string[];
  readonly pages_per_shard: number;
  readonly chunk_size_mb: number;
}

/** Like file_fields.root, but what stands for a missing one is known only when the workspace is looked at. */
const root: ConfigField<string | null> = {
  meaning: file_fields.root.meaning,
  default: `\`${docs_folder}\` if the workspace has such a folder, else \`.\``,
  parse: (value, name) => (value === undefined ? null : folder('.', file_fields.root).parse(value, name)),
};

const fields: ConfigFields<ByRouteMapConfig> = {
  ...file_fields,
  root,
  routes,
  urls,
  pages_per_shard: wholeNumber(64, {
    least: 1,
    most: pages_per_shard_max,
    meaning: `most pages that one shard holds, ${pages_per_shard_max.toLocaleString('en')} at most`,
  }),
  chunk_size_mb,
};

/** A page: a route, and the file behind it unless there is none. */
interface Page {
  readonly route: string;
  readonly file: WorkspaceFile | null;
}

/**
 * Groups the pages of a site by the first part of their routes and cuts each group into shards of at most
 * `pages_per_shard` pages and `chunk_size_mb`. A file larger than that is a shard of its own and never cut. A shard's
 * inputs are
 *
 *     {"root": "docs", "prefix": "/guide", "pages": [["/guide/start", "guide/start.md", 4711], ["/guide/live", null, 0]]}
 *
 * route, path (null for a route of `urls`, which has no file) and bytes. `input_digests` are the SHA-256 of each file in
 * order. Pages that have no group of their own are in that of `/`. Cut points hang on routes: an edited page changes one
 * shard, a page that comes or goes its neighbourhood.
 *
 * Throws {@link ConfigError} when a prefix, or a file or glob of `routes`, matches nothing.
 */
export const byRouteMap: Partitioner<ByRouteMapConfig> = {
  name: 'by_route_map',
  fields,
  parse: (config) => parseFields('by_route_map', fields, config),
  partition,
};

async function* partition(
  config: ByRouteMapConfig,
  { workspace }: { readonly workspace: Workspace },
): AsyncGenerator<ShardDraft, PartitionSummary> {
  const found = await listFiles(config, workspace);
  const pages = new Map<string, Page>();
  for (const page of filePages(config.routes, found.files)) pages.set(page.route, page);
  for (const route of config.urls) if (!pages.has(route)) pages.set(route, { route, file: null });

  const bytes = Math.round(config.chunk_size_mb * bytes_per_mb);
  for (const [prefix, group] of byPrefix([...pages.values()])) {
    // A page counts as a full shard at most: so it is never cut, and has no company but empty ones.
    const sized = group.map(({ route, file }) => ({ path: route, bytes: Math.min(file?.bytes ?? 0, bytes) }));
    for (const bin of cutIntoBins(sized, { bytes, files: config.pages_per_shard })) {
      if ('from' in bin) yield await draft(workspace, found.root, prefix, group.slice(bin.from, bin.to));
    }
  }
  return { matched: pages.size, taken: pages.size, truncated: 0 };
}

async function listFiles(
  { root, include, exclude, gitignore, routes }: ByRouteMapConfig,
  workspace: Workspace,
): Promise<{ readonly root: string; readonly files: readonly WorkspaceFile[] }> {
  // An empty list of prefixes wants no file.
  if (Array.isArray(routes) && routes.length === 0) return { root: root ?? '.', files: [] };
  const below = async (root: string): Promise<{ root: string; files: readonly WorkspaceFile[] }> => ({
    root,
    files: await workspace.list({ root, include, exclude, gitignore }),
  });
  if (root !== null) return below(root);
  try {
    return await below(docs_folder);
  } catch (error) {
    if (error instanceof WorkspacePathError) return below('.');
    throw error;
  }
}

function filePages(routes: ByRouteMapConfig['routes'], files: readonly WorkspaceFile[]): readonly Page[] {
  if (routes !== null && !isPrefixes(routes)) return mappedPages(routes, files);
  const pages = pagesAt('/', files.filter(isPage), (path) => path);
  return routes === null ? pages : pagesBelow(routes, pages);
}

function isPrefixes(routes: readonly string[] | RouteMap): routes is readonly string[] {
  return Array.isArray(routes);
}

function isPage({ path }: WorkspaceFile): boolean {
  return isDocument(path);
}

/** Files as pages below a route; `below` is a file's path as its route should tell of it. */
function pagesAt(at: string, files: readonly WorkspaceFile[], below: (path: string) => string): Page[] {
  const found = routesOf(files.map(({ path }) => below(path)));
  const prefix = at === '/' ? '' : at;
  return files.map((file, i) => ({ route: prefix + (found[i] === '/' ? '' : found[i]!) || '/', file }));
}

function pagesBelow(prefixes: readonly string[], pages: readonly Page[]): Page[] {
  const isBelow = (route: string, prefix: string): boolean =>
    prefix === '/' || route === prefix || route.startsWith(`${prefix}/`);
  for (const prefix of prefixes) {
    if (pages.some(({ route }) => isBelow(route, prefix))) continue;
    throw new ConfigError(
      'routes',
      `routes: no page lies below ${JSON.stringify(prefix)}. Known prefixes: ${prefixesOf(pages)}. A route without a file belongs into urls.`,
    );
  }
  return pages.filter(({ route }) => prefixes.some((prefix) => isBelow(route, prefix)));
}

function prefixesOf(pages: readonly Page[]): string {
  const prefixes = byPrefix(pages).map(([prefix]) => prefix);
  if (prefixes.length === 0) return 'none, for there is no page';
  const more = prefixes.length > named_prefixes_max ? ', …' : '';
  return prefixes.slice(0, named_prefixes_max).join(', ') + more;
}

/**
 * Pages of a map from route to file or glob. A file has the route itself, whatever its kind; the documents that a glob
 * matches, or that lie below a folder, have routes below it, by their paths below what the glob has without wildcards.
 */
function mappedPages(map: RouteMap, files: readonly WorkspaceFile[]): Page[] {
  const pages = new Map<string, Page>();
  const by_path = new Map(files.map((file) => [file.path, file]));
  for (const [route, glob] of Object.entries(map)) {
    const pattern = normalGlob(glob);
    const exact = by_path.get(pattern);
    const mapped = exact === undefined ? pagesOfGlob(route, pattern, files) : [{ route, file: exact }];
    if (mapped.length === 0) {
      throw new ConfigError(
        'routes',
        `routes: ${JSON.stringify(glob)} of ${JSON.stringify(route)} matches no page. A route without a file belongs into urls.`,
      );
    }
    for (const page of mapped) addPage(pages, page);
  }
  return [...pages.values()];
}

function pagesOfGlob(route: string, pattern: string, files: readonly WorkspaceFile[]): Page[] {
  const matches = picomatch(patternsOf([pattern]), glob_options);
  const { base } = picomatch.scan(pattern);
  return pagesAt(
    route,
    files.filter((file) => isPage(file) && matches(file.path)),
    (path) => (base !== '' && path.startsWith(`${base}/`) ? path.slice(base.length + 1) : path),
  );
}

function addPage(pages: Map<string, Page>, page: Page): void {
  const other = pages.get(page.route)?.file;
  if (other && other.path !== page.file!.path) {
    throw new ConfigError(
      'routes',
      `routes: ${JSON.stringify(page.route)} would be both "${other.path}" and "${page.file!.path}". Give one of them another route, or exclude it.`,
    );
  }
  pages.set(page.route, page);
}

/** Groups pages by the first part of their routes, `/` being the group of those that are alone in theirs; in order. */
function byPrefix(pages: readonly Page[]): [string, Page[]][] {
  const names = (route: string): string[] => route.replace(/[?#].*$/, '').split('/');
  const folders = new Set<string>();
  for (const { route } of pages) if (names(route).length > 2) folders.add(names(route)[1]!);

  const groups = new Map<string, Page[]>();
  for (const page of [...pages].sort((a, b) => (a.route < b.route ? -1 : 1))) {
    const first = names(page.route)[1]!;
    const prefix = folders.has(first) ? `/${first}` : '/';
    const group = groups.get(prefix);
    if (group === undefined) groups.set(prefix, [page]);
    else group.push(page);
  }
  return [...groups].sort(([a], [b]) => (a < b ? -1 : 1));
}

async function draft(
  workspace: Workspace,
  root: string,
  prefix: string,
  pages: readonly Page[],
): Promise<ShardDraft> {
  const rows: Json[] = [];
  const digests: Digest[] = [];
  let bytes = 0;
  for (const { route, file } of pages) {
    rows.push([route, file?.path ?? null, file?.bytes ?? 0]);
    if (file === null) continue;
    digests.push(await digestFile(workspace, root, file));
    bytes += file.bytes;
  }
  return {
    wave: 0,
    weight: Math.max(1, bytes),
    inputs: { root, prefix, pages: rows },
    input_digests: digests,
  };
}
