/** What counts as a page of documentation: Markdown and HTML, by the end of its name. */
const document_name = /\.(?:md|mdx|markdown|html?)$/i;

/** Is a file of this name a page of documentation? */
export function isDocument(path: string): boolean {
  return document_name.test(path);
}

/**
 * The routes of files below one root, in the order of `paths`, which are all different. The route of a file is `/` and
 * its path without the extension; an `index` or a `README`, in any case, is its folder:
 *
 *     guide/start.md  →  /guide/start          guide/index.md, guide/README.md  →  /guide          README.md  →  /
 *
 * Of several files with one route the file of that very name has it, else the index, else the README, else the first by
 * path. The others keep their whole path, extension and all, as theirs: `/guide/README.md`. No two routes are equal.
 * Pure; depends on the set of paths only.
 */
export function routesOf(paths: readonly string[]): string[] {
  const routes = new Map<string, string>();
  const taken = new Set<string>();
  const take = (path: string, route: string): void => {
    routes.set(path, route);
    taken.add(route);
  };
  const left: string[] = [];
  for (const path of [...paths].sort(byPreference)) {
    const route = plainRoute(path);
    if (taken.has(route)) left.push(path);
    else take(path, route);
  }
  for (const path of left) {
    let route = `/${path}`;
    // Only a file such as `README.md.md` can have taken it.
    while (taken.has(route)) route += '~';
    take(path, route);
  }
  return paths.map((path) => routes.get(path)!);
}

function plainRoute(path: string): string {
  const named = `/${path.replace(document_name, '')}`;
  return named.replace(/\/(?:index|readme)$/i, '') || '/';
}

function byPreference(a: string, b: string): number {
  const rank = rankOf(a) - rankOf(b);
  if (rank !== 0) return rank;
  return a < b ? -1 : 1;
}

function rankOf(path: string): number {
  const name = path.slice(path.lastIndexOf('/') + 1).replace(document_name, '');
  return ['index', 'readme'].indexOf(name.toLowerCase()) + 1;
}
