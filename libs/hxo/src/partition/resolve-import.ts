/** Extensions of files that are parsed for imports. */
export const script_file = /\.[cm]?[jt]sx?$/i;

/** What an extension in an import may stand for in TypeScript, in the order of the search. */
const written_as: Readonly<Record<string, readonly string[]>> = {
  '.js': ['.ts', '.tsx', '.d.ts'],
  '.jsx': ['.tsx', '.d.ts'],
  '.mjs': ['.mts', '.d.mts'],
  '.cjs': ['.cts', '.d.cts'],
};
const extensions = [
  '.ts',
  '.tsx',
  '.mts',
  '.cts',
  '.d.ts',
  '.js',
  '.jsx',
  '.mjs',
  '.cjs',
  '.d.mts',
  '.d.cts',
];

/**
 * The file that a relative import means, as Node.js and TypeScript resolve it: the very file; the TypeScript file that
 * `./x.js` is compiled from; `./x` with an extension; the index file of a folder. Null for an import that is not
 * relative, or leads to no known file.
 */
export function resolveImport(
  from: string,
  specifier: string,
  isFile: (path: string) => boolean,
): string | null {
  const path = joinImport(from, specifier);
  if (path === null) return null;
  if (!/(?:^|\/)\.{0,2}$/.test(specifier)) {
    if (isFile(path)) return path;
    const extension = /\.[cm]?jsx?$/.exec(path)?.[0] ?? '';
    const stem = path.slice(0, path.length - extension.length);
    const candidates = [
      ...(written_as[extension] ?? []).map((other) => stem + other),
      ...extensions.map((other) => path + other),
    ];
    const found = candidates.find(isFile);
    if (found !== undefined) return found;
  }
  const folder = path === '' ? '' : path + '/';
  return extensions.map((extension) => `${folder}index${extension}`).find(isFile) ?? null;
}

/** Where a relative import leads, `''` being the root. Null for one that is not relative, or leaves the root. */
export function joinImport(from: string, specifier: string): string | null {
  if (!/^\.\.?(?:\/|$)/.test(specifier)) return null;
  const names = from.split('/').slice(0, -1);
  for (const name of specifier.split('/')) {
    if (name === '' || name === '.') continue;
    if (name !== '..') names.push(name);
    else if (names.pop() === undefined) return null;
  }
  return names.join('/');
}

/** The package of a bare import: `@scope/name/sub` is of `@scope/name`. */
export function packageOf(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}
