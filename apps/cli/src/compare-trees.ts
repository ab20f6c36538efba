import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import picomatch from 'picomatch';

/** What a packed tree leaves out, as basename patterns. */
export interface Ignored {
  readonly patterns: readonly string[];
  /** A .gitignore of basename patterns only. */
  readonly gitignore: string;
}

/** Compares two trees with `diff -r`, or here where there is no diff. Returns what differs; empty when they are equal. */
export async function compareTrees(source: string, restored: string, ignored: Ignored): Promise<string> {
  return (await runDiff(source, restored, ignored)) ?? (await compareByWalking(source, restored, ignored));
}

/** What `diff -r` prints, or null when it is not installed. */
async function runDiff(source: string, restored: string, ignored: Ignored): Promise<string | null> {
  const excludes = ignored.patterns.flatMap((pattern) => ['-x', pattern]);
  const diff = spawn('diff', ['-r', '-q', ...excludes, '-X', ignored.gitignore, source, restored]);
  const [output, complaint, code] = await Promise.all([
    text(diff.stdout),
    text(diff.stderr),
    new Promise<number | 'not installed' | null>((resolve, reject) => {
      diff.once('close', resolve);
      diff.once('error', (error: NodeJS.ErrnoException) =>
        error.code === 'ENOENT' ? resolve('not installed') : reject(error),
      );
    }),
  ]);
  if (code === 'not installed') return null;
  return code === 0 ? '' : output + complaint;
}

/** The same comparison by reading both trees. */
export async function compareByWalking(source: string, restored: string, ignored: Ignored): Promise<string> {
  const gitignore = (await readFile(ignored.gitignore, 'utf8'))
    .split('\n')
    .filter((line) => line.trim() !== '');
  const isIgnored = picomatch([...ignored.patterns, ...gitignore], { dot: true });
  const [here, there] = await Promise.all([listFiles(source, isIgnored), listFiles(restored, isIgnored)]);
  const differences = [
    ...[...here].filter((path) => !there.has(path)).map((path) => `Only in ${source}: ${path}`),
    ...[...there].filter((path) => !here.has(path)).map((path) => `Only in ${restored}: ${path}`),
  ];
  for (const path of here) {
    if (!there.has(path)) continue;
    const [before, after] = await Promise.all([readFile(join(source, path)), readFile(join(restored, path))]);
    if (!before.equals(after)) differences.push(`Files ${path} differ`);
  }
  return differences.join('\n');
}

async function listFiles(
  root: string,
  isIgnored: (name: string) => boolean,
  below = '',
): Promise<Set<string>> {
  const files = new Set<string>();
  for (const entry of await readdir(join(root, below), { withFileTypes: true })) {
    if (isIgnored(entry.name)) continue;
    const path = join(below, entry.name);
    if (entry.isFile()) files.add(path);
    if (entry.isDirectory()) for (const inner of await listFiles(root, isIgnored, path)) files.add(inner);
  }
  return files;
}
