import picomatch from 'picomatch';
import type { ListingOptions, Workspace, WorkspaceFile } from '../execute/workspace.js';
import { readManifest, type Manifest } from './package-manifest.js';

/** A part of the tree that belongs together: a workspace package, or a folder of sources. */
export interface Module {
  /** Unique in its listing: the package's name, or the folder's. */
  readonly name: string;
  /** Its folder, relative to the listing's root. */
  readonly path: string;
  /** Its package.json, even where `include` leaves that out; null when it has none. */
  readonly manifest: WorkspaceFile | null;
  /** Names of the packages that its package.json depends on, in whatever way. Empty for a folder of sources. */
  readonly dependencies: readonly string[];
  /** What the listing holds of it, in path order; never empty. A file belongs to the deepest module that contains it. */
  readonly files: readonly WorkspaceFile[];
}

/** A listing, and the modules that it falls into. */
export interface ModuleListing {
  /** All that matched, in path order, whether a module contains it or not. */
  readonly files: readonly WorkspaceFile[];
  /**
   * The npm workspace packages of the root's package.json, in bytewise order of their names; null when there are none.
   * A package of which nothing matched is left out.
   */
  readonly packages: readonly Module[] | null;
  /** Every package.json that the globs of `exclude` leave, by path. */
  readonly manifests: ReadonlyMap<string, WorkspaceFile>;
}

/**
 * Lists a folder and finds its npm workspace packages: the folders with a package.json that match `workspaces` (an array of
 * globs, or `{packages}`) of the package.json directly in `root`, in the order of the globs, of which one with `!` takes
 * back what earlier ones chose (https://docs.npmjs.com/cli/using-npm/workspaces). Folders named `node_modules` hold none.
 *
 * Throws an Error naming the file when a package.json that counts cannot be read, and both paths when two packages
 * have one name.
 */
export async function listModules(workspace: Workspace, listing: ListingOptions): Promise<ModuleListing> {
  const files = await workspace.list(listing);
  const manifests = await listManifests(workspace, listing, files);
  const top = manifests.get('package.json');
  const globs = top === undefined ? [] : (await readManifest(workspace, listing.root, top)).workspaces;
  const chosen = [...manifests.keys()].filter(workspaceMatcher(globs));
  if (chosen.length === 0) return { files, packages: null, manifests };

  const found: Omit<Module, 'files'>[] = [];
  for (const path of chosen) {
    const manifest = manifests.get(path)!;
    const path_of_folder = folderOf(path);
    const { name, dependencies }: Manifest = await readManifest(workspace, listing.root, manifest);
    found.push({ name: name ?? path_of_folder, path: path_of_folder, manifest, dependencies });
  }
  refuseTwins(found);
  return { files, packages: withFiles(found, files), manifests };
}

/** A listing of its own where `include` may have left a package.json out: it says what is read, not what a module is. */
async function listManifests(
  workspace: Workspace,
  listing: ListingOptions,
  files: readonly WorkspaceFile[],
): Promise<Map<string, WorkspaceFile>> {
  const listed =
    listing.include.length === 0
      ? files
      : await workspace.list({ ...listing, include: ['package.json', '**/package.json'] });
  const isManifest = ({ path }: WorkspaceFile): boolean =>
    path === 'package.json' || path.endsWith('/package.json');
  return new Map(listed.filter(isManifest).map((file) => [file.path, file]));
}

function workspaceMatcher(globs: readonly string[]): (path: string) => boolean {
  const rules = globs.map((glob) => {
    const takes = !glob.startsWith('!');
    const pattern = (takes ? glob : glob.slice(1)).replace(/^(\.?\/)+/, '').replace(/\/+$/, '');
    return {
      takes,
      matches: pattern === '' ? () => false : picomatch(pattern, { dot: true, nonegate: true }),
    };
  });
  return (path) => {
    const folder = folderOf(path);
    if (folder === '' || folder.split('/').includes('node_modules')) return false;
    return rules.reduce((chosen, { takes, matches }) => (matches(folder) ? takes : chosen), false);
  };
}

function refuseTwins(modules: readonly Omit<Module, 'files'>[]): void {
  const paths = new Map<string, string>();
  for (const { name, path } of modules) {
    const other = paths.get(name);
    if (other !== undefined) {
      throw new Error(
        `Two modules are named ${JSON.stringify(name)}: ${other} and ${path}. Give one of them another name in its package.json, or leave its folder out with "exclude".`,
      );
    }
    paths.set(name, path);
  }
}

/** Gives each file to the deepest module that contains it. Modules come out in bytewise order of their names. */
export function withFiles(
  modules: readonly Omit<Module, 'files'>[],
  files: readonly WorkspaceFile[],
): Module[] {
  const held = new Map<string, WorkspaceFile[]>(modules.map(({ path }) => [path, []]));
  const owner = deepestFolder(held);
  for (const file of files) owner(file.path)?.push(file);
  return modules
    .map((module) => ({ ...module, files: held.get(module.path)! }))
    .filter((module) => module.files.length > 0)
    .sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
}

/** Looks a path up by the deepest of some folders that contains it. */
export function deepestFolder<T>(by_folder: ReadonlyMap<string, T>): (path: string) => T | undefined {
  return (path) => {
    for (let folder = folderOf(path); folder !== ''; folder = folderOf(folder)) {
      const found = by_folder.get(folder);
      if (found !== undefined) return found;
    }
    return undefined;
  };
}

/** The folder that holds a path; `''` for what lies directly in the root. */
export function folderOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}
