import { copyFileSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { WalCheckpointer } from './wal-checkpointer.js';

const dir = mkdtempSync(join(tmpdir(), 'hxo-wal-'));
afterAll(() => rmSync(dir, { recursive: true }));

/** Rows of the store's file alone, without its log. */
function rowsWithoutLog(path: string): number {
  const copy = join(dir, 'copy.db');
  copyFileSync(path, copy);
  const db = new Database(copy, { readonly: true });
  try {
    return db.prepare('SELECT count(*) FROM t').pluck().get() as number;
  } finally {
    db.close();
  }
}

it('writes the log back beside the writer, who then uses it from its beginning again', () => {
  const path = join(dir, 'store.db');
  const writer = new Database(path);
  writer.pragma('journal_mode = WAL');
  writer.pragma('wal_autocheckpoint = 0');
  writer.exec('CREATE TABLE t (x)');
  const insert = writer.prepare('INSERT INTO t VALUES (zeroblob(5000))');
  const checkpointer = new WalCheckpointer(path);
  checkpointer.checkpoint();
  for (let i = 0; i < 100; i++) insert.run();
  expect(rowsWithoutLog(path)).toBe(0);
  writer.exec('BEGIN IMMEDIATE');
  insert.run();
  checkpointer.checkpoint();
  expect(rowsWithoutLog(path)).toBe(100);
  writer.exec('COMMIT');
  checkpointer.checkpoint();
  expect(rowsWithoutLog(path)).toBe(101);
  const { size } = statSync(`${path}-wal`);
  for (let i = 0; i < 50; i++) insert.run();
  expect(statSync(`${path}-wal`).size).toBe(size);
  writer.close();
});
