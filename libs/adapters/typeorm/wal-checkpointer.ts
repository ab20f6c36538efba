import Database from 'better-sqlite3';

/**
 * Writes a store's write-ahead log back into its file, so that the leading process need not stop for that when it
 * commits: SQLite lets another connection do it beside the writer. What was committed is as durable before as after.
 */
export class WalCheckpointer {
  private db: Database.Database | null = null;

  constructor(private readonly path: string) {}

  /** Writes back what it can without waiting for anybody. To be called every now and then, off the main thread. */
  checkpoint(): void {
    this.db ??= this.open();
    this.db.pragma('wal_checkpoint(PASSIVE)');
  }

  private open(): Database.Database {
    const db = new Database(this.path, { fileMustExist: true });
    // The log must be on disk before its pages are, and they before the log is used again.
    db.pragma('synchronous = FULL');
    db.pragma('busy_timeout = 0');
    return db;
  }
}
