import Database from 'better-sqlite3';

/** What the pragma answers: could it not begin, and how many frames are in the log and in the file. */
interface Checkpointed {
  readonly busy: number;
  readonly log: number;
  readonly checkpointed: number;
}

/** Passes of one call: each has only to write back what was committed during the one before. */
const passes_max = 4;

/**
 * Writes a store's write-ahead log back into its file, so that the leading process need not stop for that when it
 * commits: SQLite lets another connection do it beside the writer. What was committed is as durable before as after.
 */
export class WalCheckpointer {
  private db: Database.Database | null = null;

  constructor(private readonly path: string) {}

  /**
   * Writes back what it can without waiting for anybody. To be called every now and then, off the main thread. When nothing
   * of the log is left to be written back, the next commit begins it anew: so it is tried more than once.
   */
  checkpoint(): void {
    this.db ??= this.open();
    for (let pass = 0; pass < passes_max; pass++) {
      const [state] = this.db.pragma('wal_checkpoint(PASSIVE)') as [Checkpointed];
      if (state.busy !== 0 || state.log === state.checkpointed) return;
    }
  }

  private open(): Database.Database {
    const db = new Database(this.path, { fileMustExist: true });
    // The log must be on disk before its pages are, and they before the log is used again.
    db.pragma('synchronous = FULL');
    db.pragma('busy_timeout = 0');
    return db;
  }
}
