import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { workspaceFingerprint } from './fingerprint.js';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'hxo-fingerprint-'));
  mkdirSync(join(root, 'src'));
  for (const name of ['README.md', 'admiral-token', 'app.db']) writeFileSync(join(root, name), name);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const now = (home = join(root, '.hxo')): string => workspaceFingerprint({ root, home });

it('stays while files are edited, databases written, and what git ignores comes and goes', () => {
  writeFileSync(join(root, '.gitignore'), '/build/\n');
  const before = now();
  writeFileSync(join(root, 'README.md'), 'edited');
  writeFileSync(join(root, 'src/new.ts'), '');
  for (const suffix of ['-wal', '-shm', '-journal']) writeFileSync(join(root, `app.db${suffix}`), '');
  for (const folder of ['build', '.git', '.hxo']) mkdirSync(join(root, folder));
  writeFileSync(join(root, '.env'), '');
  expect(now()).toBe(before);
});

it('is another when the top of the tree is', () => {
  const before = now();
  writeFileSync(join(root, 'LICENSE'), '');
  const after = now();
  expect(after).not.toBe(before);
  rmSync(join(root, 'LICENSE'));
  mkdirSync(join(root, 'LICENSE'));
  expect([before, after]).not.toContain(now());
});

it('does not hang on what a process is configured with, so that API and worker agree on one tree', () => {
  // Another home, outside: all that the API and a worker may be told differently is where they keep their own state.
  expect(now('/var/lib/hxo')).toBe(now());
  const before = now();
  rmSync(join(root, 'admiral-token'));
  expect(now()).not.toBe(before);
});
