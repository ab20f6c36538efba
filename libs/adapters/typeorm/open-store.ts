import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import { DataSource } from 'typeorm';
import { entities } from './entities.js';
import { InitialSchema1763900000000 } from './initial-schema.migration.js';

/**
 * Pages (4 KiB) of the log at which a commit writes it back itself, when nobody else has done so: 128 MiB, since a plan's
 * events and requests wait meanwhile.
 */
const wal_pages_max = 32_768;

/** Thrown when another HXO process leads the same store. */
export class StoreInUse extends Error {
  override readonly name = 'StoreInUse';
}

/** A store that is open: its connections, and the lock that makes this process its leader. */
export interface OpenStore {
  readonly source: DataSource;
  /** The driver's own connection, on which everything is written. */
  readonly db: Database.Database;
  readonly lock: Database.Database;
}

/**
 * Opens a store, takes the leadership of it, and brings the schema up to date. Throws {@link StoreInUse} when another
 * process leads it, and an Error when the file is damaged.
 */
export async function openStore(path: string): Promise<OpenStore> {
  mkdirSync(dirname(path), { recursive: true });
  const lock = lead(`${path}.lock`);
  try {
    const source = await connect(path);
    const { databaseConnection } = source.driver as unknown as {
      readonly databaseConnection: Database.Database;
    };
    return { source, db: databaseConnection, lock };
  } catch (error) {
    lock.close();
    throw error;
  }
}

async function connect(path: string): Promise<DataSource> {
  const source = new DataSource({
    type: 'better-sqlite3',
    database: path,
    entities,
    migrations: [InitialSchema1763900000000],
    migrationsRun: true,
    prepareDatabase: (db: Database.Database) => {
      secure(db);
      assertSound(db, path);
    },
  });
  return source.initialize();
}

function assertSound(db: Database.Database, path: string): void {
  const damage = db.pragma('quick_check(1)', { simple: true });
  if (damage !== 'ok') {
    throw new Error(`The checkpoint store ${path} is damaged: ${String(damage)}. Restore it from a backup.`);
  }
}

/**
 * Durability of the connection. better-sqlite3 falls back to synchronous=NORMAL after the first write in WAL mode unless
 * it is set explicitly, so it is set, and read back. `busy_timeout` blocks the event loop: it stays short, the writer
 * waits on its own.
 */
function secure(db: Database.Database): void {
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  db.pragma('busy_timeout = 50');
  db.pragma(`wal_autocheckpoint = ${wal_pages_max}`);
  const mode = db.pragma('journal_mode', { simple: true });
  const synchronous = db.pragma('synchronous', { simple: true });
  if (mode !== 'wal' || synchronous !== 2) {
    throw new Error(
      `The checkpoint store needs WAL and synchronous=FULL, got ${String(mode)} and ${String(synchronous)}.`,
    );
  }
}

/**
 * Leadership by a lock that the operating system releases when the process dies, however it dies: an exclusive SQLite
 * transaction on a file of its own, held open for as long as the store is.
 */
function lead(path: string): Database.Database {
  const lock = new Database(path);
  lock.pragma('busy_timeout = 0');
  try {
    lock.exec('BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock.close();
    if ((error as { code?: string }).code !== 'SQLITE_BUSY') throw error;
    throw new StoreInUse(
      'Another HXO process leads this checkpoint store. Stop it first, or give this one its own HXO_HOME or HXO_DB_PATH.',
    );
  }
}
