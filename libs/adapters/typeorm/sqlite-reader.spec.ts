import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type Database from 'better-sqlite3';
import { openPlanReader, type SqlitePlanReader } from './sqlite-reader.js';
import { SqliteCheckpointStore } from './sqlite-checkpoint-store.js';

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hxo-reader-'));
  path = join(folder, 'checkpoints.db');
});
afterEach(() => rmSync(folder, { recursive: true }));

const openStore = (): Promise<SqliteCheckpointStore> =>
  SqliteCheckpointStore.open(path, (error) => {
    throw error;
  });

/** Names and digests of the files around a store; `-shm` is memory that changes with every reader. */
function filesIn(dir: string): Record<string, string> {
  const digest = (name: string) =>
    createHash('sha256')
      .update(readFileSync(join(dir, name)))
      .digest('hex');
  return Object.fromEntries(
    readdirSync(dir).map((name) => [name, name.endsWith('-shm') ? '' : digest(name)]),
  );
}

it('leaves a store at rest as it was, and nothing beside it', async () => {
  await (await openStore()).close();
  const before = filesIn(folder);
  expect(Object.keys(before)).not.toContain('checkpoints.db-wal');
  const reader = openPlanReader(path);
  expect(reader.certifiedPlans()).toEqual([]);
  reader.close();
  expect(filesIn(folder)).toEqual(before);
});

it('cannot write, whichever way it opened the store', async () => {
  const drop = (reader: SqlitePlanReader) => () =>
    (reader as unknown as { db: Database.Database }).db.exec('DROP TABLE plan');
  const store = await openStore();
  const beside = openPlanReader(path);
  expect(drop(beside)).toThrow(/readonly|query_only/);
  beside.close();
  await store.close();
  const alone = openPlanReader(path);
  expect(drop(alone)).toThrow(/readonly|query_only/);
  alone.close();
});

it('reads beside a server, and leaves what a crash left: the log stays where it is', async () => {
  const store = await openStore();
  const beside = openPlanReader(path);
  expect(beside.certifiedPlans()).toEqual([]);
  beside.close();
  const crashed = join(folder, 'crashed');
  mkdirSync(crashed);
  for (const end of ['', '-wal', '-shm']) copyFileSync(path + end, join(crashed, `checkpoints.db${end}`));
  await store.close();
  const before = filesIn(crashed);
  const reader = openPlanReader(join(crashed, 'checkpoints.db'));
  expect(reader.certifiedPlans()).toEqual([]);
  reader.close();
  expect(filesIn(crashed)).toEqual(before);
});

it('survives a server that starts and stops while it reads', async () => {
  await (await openStore()).close();
  const reader = openPlanReader(path);
  expect(reader.certifiedPlans()).toEqual([]);
  const store = await openStore();
  await store.close();
  expect(reader.certifiedPlans()).toEqual([]);
  reader.close();
  expect(readdirSync(folder).filter((name) => /-(wal|shm)$/.test(name))).toEqual([]);
});
