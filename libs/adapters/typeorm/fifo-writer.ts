import type { Database } from 'better-sqlite3';
import { StoreUnavailable, type Patience } from '#hxo';

interface Job {
  readonly work: () => unknown;
  readonly patience: Patience;
  readonly resolve: (value: unknown) => void;
  readonly reject: (reason: unknown) => void;
}

/** One transaction takes at most this long before it commits and lets the event loop turn. */
const batch_ms = 8;
const batch_jobs_max = 256;
/** Leases and outcomes are committed so long after the last commit at least: what comes meanwhile shares one fsync. */
const commit_gap_ms = 3;
const retry_first_ms = 50;
const retry_max_ms = 2_000;

/**
 * The one first-in first-out writer of a SQLite connection.
 *
 * TypeORM shares one query runner per SQLite DataSource, so interleaved asynchronous transactions lose acknowledged
 * writes. Here every job is synchronous and runs inside `BEGIN IMMEDIATE … COMMIT` with no await in between; jobs that
 * wait share a transaction, each in a savepoint of its own, so that one fsync serves them all and one job's error undoes
 * only that job.
 */
export class FifoWriter {
  private queue: Job[] = [];
  /** When the queue is written, by the monotonic clock; Infinity: nobody has asked for it. */
  private due = Infinity;
  private committed_at = 0;
  private closed = false;
  private retry_ms = retry_first_ms;
  private timer: NodeJS.Timeout | undefined;
  private problem: string | null = null;
  private idle: (() => void)[] = [];

  /** @param fatal called when durability is in doubt (an I/O error at commit): the process must end and recover */
  constructor(
    private readonly db: Database,
    private readonly fatal: (error: Error) => void,
  ) {}

  /** Resolves after COMMIT with what `work` returned; rejects with what it threw, or with StoreUnavailable. */
  run<T>(work: () => T, patience: Patience): Promise<T> {
    if (this.closed) return Promise.reject(new StoreUnavailable('The checkpoint store is closed.'));
    return new Promise<T>((resolve, reject) => {
      this.queue.push({ work, patience, resolve: resolve as (value: unknown) => void, reject });
      const earliest = patience === 'shards' ? this.committed_at + commit_gap_ms : 0;
      this.schedule(Math.max(0, earliest - performance.now()));
    });
  }

  /** Why writing fails at present, or null. */
  trouble(): string | null {
    return this.problem;
  }

  /** Waits for the queued jobs, then refuses more. Those that cannot be written now are rejected. */
  async close(): Promise<void> {
    this.closed = true;
    if (this.queue.length > 0 && this.problem === null)
      await new Promise<void>((resolve) => this.idle.push(resolve));
    clearTimeout(this.timer);
    for (const job of this.queue.splice(0))
      job.reject(new StoreUnavailable('The checkpoint store is closed.'));
  }

  private schedule(delay_ms: number): void {
    // What is written in the next turn cannot be overtaken: its immediate is not taken back.
    const due = delay_ms < 1 ? 0 : performance.now() + delay_ms;
    // In trouble nothing is tried before its time.
    if (this.due <= due || (this.due < Infinity && this.problem !== null)) return;
    this.due = due;
    const drain = (): void => {
      this.due = Infinity;
      this.drain();
    };
    // What was to be written later is written together with what cannot wait.
    clearTimeout(this.timer);
    if (delay_ms < 1) setImmediate(drain);
    else this.timer = setTimeout(drain, delay_ms);
  }

  private drain(): void {
    // With nothing to write, trouble is looked into all the same: readiness must not wait for somebody's luck.
    if (this.queue.length === 0 && this.problem === null) return;
    const settle: (() => void)[] = [];
    let taken = 0;
    try {
      this.db.exec('BEGIN IMMEDIATE');
      const deadline = performance.now() + batch_ms;
      if (this.queue.length === 0) this.probe();
      while (taken < this.queue.length && taken < batch_jobs_max && performance.now() < deadline) {
        settle.push(this.perform(this.queue[taken]!));
        taken++;
      }
      this.db.exec('COMMIT');
    } catch (error) {
      this.unavailable(error as Error & { code?: string });
      return;
    }
    this.queue.splice(0, taken);
    this.problem = null;
    this.retry_ms = retry_first_ms;
    for (const tell of settle) tell();
    this.committed_at = performance.now();
    if (this.queue.length > 0) this.schedule(0);
    else for (const resolve of this.idle.splice(0)) resolve();
  }

  /** Writes a page and changes nothing. */
  private probe(): void {
    this.db.pragma(`user_version = ${String(this.db.pragma('user_version', { simple: true }))}`);
  }

  /** Runs one job in its savepoint. Returns how to tell its caller after the commit. Throws only on store errors. */
  private perform(job: Job): () => void {
    this.db.exec('SAVEPOINT job');
    try {
      const value = job.work();
      this.db.exec('RELEASE job');
      return () => job.resolve(value);
    } catch (error) {
      if (isStoreError(error)) throw error;
      this.db.exec('ROLLBACK TO job; RELEASE job');
      return () => job.reject(error);
    }
  }

  private unavailable(error: Error & { code?: string }): void {
    try {
      if (this.db.inTransaction) this.db.exec('ROLLBACK');
    } catch {
      // The connection is as it was before BEGIN, or unusable; the next attempt will tell.
    }
    if (!isStoreError(error)) {
      this.fatal(error);
      return;
    }
    if (error.code?.startsWith('SQLITE_IOERR') === true && error.code !== 'SQLITE_IOERR_WRITE') {
      // After a failed fsync nobody knows what is on the disk: only a restart, which reads it again, can tell.
      this.fatal(error);
      return;
    }
    this.problem = `The checkpoint store cannot be written (${error.code ?? error.message}): free disk space, or end the program that locks it.`;
    const refused = this.queue.filter((job) => job.patience === 'request');
    this.queue = this.queue.filter((job) => job.patience !== 'request');
    for (const job of refused) job.reject(new StoreUnavailable(this.problem));
    if (this.closed) {
      for (const resolve of this.idle.splice(0)) resolve();
      return;
    }
    this.schedule(this.retry_ms);
    this.retry_ms = Math.min(this.retry_ms * 2, retry_max_ms);
  }
}

/** Errors of the file underneath, as against errors of a statement or of the engine. */
function isStoreError(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return (
    typeof code === 'string' && /^SQLITE_(BUSY|LOCKED|FULL|READONLY|IOERR|CANTOPEN|NOMEM|PROTOCOL)/.test(code)
  );
}
