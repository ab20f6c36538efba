import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { canonicalJson, sha256, type Digest } from '#hxo/execute';
import { forbid } from './forbidden.js';
import { noGitignore } from './gitignore.js';

/** What SQLite makes beside a database while it is written, and removes again. */
const passing = /-(?:journal|wal|shm)$/;

/**
 * Tells workspaces apart: SHA-256 of the names at the top of the tree, without those that .gitignore leaves out. It is cheap
 * enough for every heartbeat and stays the same while files are edited. It finds a worker that has another tree, or none,
 * mounted; files that differ inside the same tree are found by their digests when a shard reads them.
 *
 * It speaks of the tree and not of settings: a token file that only the API is told of would make one tree look like two. So
 * a file that no plan may read counts by its name like any other. Only `home` does not, which each process makes for itself.
 */
export function workspaceFingerprint({
  root,
  home,
}: {
  readonly root: string;
  /** HXO_HOME, absolute. */
  readonly home: string;
}): Digest {
  const closed = forbid({ forbidden: [home] });
  const rules = noGitignore.below('', readIfThere(join(root, '.gitignore')));
  const names = readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isFile() || entry.isDirectory())
    .filter((entry) => !passing.test(entry.name))
    .filter((entry) => !closed.name(entry.name) && !closed.place(join(root, entry.name)))
    .map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name))
    .filter((name) => !rules.ignores(name));
  return sha256(canonicalJson(names.sort()));
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
