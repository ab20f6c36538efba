import { lstatSync, readFileSync, readdirSync, type Dirent } from 'node:fs';
import { join } from 'node:path';
import picomatch from 'picomatch';
import {
  glob_options,
  patternsOf,
  WorkspacePathError,
  type ListingOptions,
  type WorkspaceFile,
} from '#hxo/execute';
import type { Forbidden } from './forbidden.js';
import { noGitignore, type GitignoreRules } from './gitignore.js';
import type { Turns } from './turns.js';
import { reading } from './unreadable.js';

/** A folder that is still to be read. */
interface Folder {
  /** Relative to the workspace: `''` or ending in `/`. */
  readonly path: string;
  readonly rules: GitignoreRules;
}

/**
 * Lists the regular files below a folder in bytewise path order. Ignored, excluded and forbidden folders are not read
 * at all. `root` is `''` or ends in `/`, and has been checked.
 *
 * File system calls are synchronous: listings run in a thread of their own, where they cost half of what promises do.
 */
export async function walk(
  workspace: string,
  root: string,
  options: ListingOptions,
  forbidden: Forbidden,
  turns: Turns,
): Promise<WorkspaceFile[]> {
  const included = matcher(options.include);
  const excluded = matcher(options.exclude);
  const files: WorkspaceFile[] = [];
  const entries: { folder: Folder; entry: Dirent }[] = [];

  const open = (folder: Folder): void => {
    const absolute = join(workspace, folder.path);
    const found = reading(folder.path, () => readdirSync(absolute, { withFileTypes: true })).filter(
      (entry) => (entry.isFile() || entry.isDirectory()) && !forbidden.name(entry.name),
    );
    const own = found.some((entry) => entry.name === '.gitignore' && entry.isFile());
    const rules =
      own && options.gitignore
        ? folder.rules.below(folder.path, readGitignore(folder.path, absolute))
        : folder.rules;
    // Last first, because the stack is read from its end. A folder sorts as its name and `/`, as its files' paths do.
    found.sort((a, b) => compareBytewise(sortName(b), sortName(a)));
    for (const entry of found) entries.push({ folder: { path: folder.path, rules }, entry });
  };

  open({ path: root, rules: options.gitignore ? rulesAbove(workspace, root) : noGitignore });
  for (let next = entries.pop(); next !== undefined; next = entries.pop()) {
    if (turns.due()) await turns.take();
    const { folder, entry } = next;
    const path = folder.path + sortName(entry);
    const shown = folder.path.slice(root.length) + entry.name;
    if (folder.rules.ignores(path) || excluded?.(shown) || forbidden.place(join(workspace, path))) continue;
    if (entry.isDirectory()) {
      checkName(path, entry.name);
      open({ path, rules: folder.rules });
    } else if (included?.(shown) ?? true) {
      checkName(path, entry.name);
      const file = reading(path, () => describe(join(workspace, path), shown));
      if (file !== null) files.push(file);
    }
  }
  return files;
}

/** The rules of the .gitignore files from the workspace down to the listing's root, its own left out. */
function rulesAbove(workspace: string, root: string): GitignoreRules {
  let rules = noGitignore;
  let folder = '';
  for (const name of root.split('/').slice(0, -1)) {
    const absolute = join(workspace, folder);
    const path = join(absolute, '.gitignore');
    const own = reading(`${folder}.gitignore`, () => lstatSync(path, { throwIfNoEntry: false }));
    if (own?.isFile()) rules = rules.below(folder, readGitignore(folder, absolute));
    folder += name + '/';
  }
  return rules;
}

function readGitignore(folder: string, absolute: string): string {
  return reading(`${folder}.gitignore`, () => readFileSync(join(absolute, '.gitignore'), 'utf8'));
}

/** Undefined when there are no globs. */
function matcher(globs: readonly string[]): ((path: string) => boolean) | undefined {
  return globs.length === 0 ? undefined : picomatch(patternsOf(globs), glob_options);
}

function describe(absolute: string, path: string): WorkspaceFile | null {
  const stat = lstatSync(absolute, { throwIfNoEntry: false });
  // Whatever took the file's place since its folder was read is no part of the listing.
  if (stat === undefined || !stat.isFile()) return null;
  return { path, bytes: stat.size, executable: (stat.mode & 0o100) !== 0 };
}

function checkName(path: string, name: string): void {
  // Node puts U+FFFD where a name is not valid UTF-8; such a name would not open again.
  if (/\p{Cc}|\uFFFD/u.test(name)) {
    throw new WorkspacePathError(
      `${JSON.stringify(path)} has a name that is not valid UTF-8 or holds control characters. Rename it, or leave it out with "exclude" or .gitignore.`,
    );
  }
}

function sortName(entry: Dirent): string {
  return entry.isDirectory() ? entry.name + '/' : entry.name;
}

/** Orders well-formed texts by their UTF-8 bytes, which is the order of their code points. */
export function compareBytewise(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length);
  for (let i = 0; i < shorter; i++) {
    const unitA = a.charCodeAt(i);
    const unitB = b.charCodeAt(i);
    if (unitA === unitB) continue;
    // Surrogates stand for code points above all that one unit can hold.
    const surrogateA = (unitA & 0xf800) === 0xd800;
    const surrogateB = (unitB & 0xf800) === 0xd800;
    return surrogateA === surrogateB ? unitA - unitB : surrogateA ? 1 : -1;
  }
  return a.length - b.length;
}
