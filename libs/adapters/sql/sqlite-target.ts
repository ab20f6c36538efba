import { realpathSync, statSync, type Stats } from 'node:fs';
import { sep } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type Database from 'better-sqlite3';
import {
  TargetError,
  targetVariable,
  type SqlResult,
  type SqlRow,
  type SqlValue,
  type TargetSession,
  type TransactionOptions,
} from '#hxo/execute';
import { IdleTimer } from './idle-timer.js';
import { describeSqlite, ledgerOfSqlite } from './sqlite-catalogue.js';
import { SessionTarget } from './session-target.js';
import { deferredViolations, firstMade } from './sqlite-deferred.js';

/**
 * How often a waiting writer looks whether the lock is free, in the first half of its wait and in the second. SQLite's own
 * waits, up to 100 ms, starve it where others write batch after batch; but each look holds up a commit of theirs that it
 * meets, so that looking often costs more than it gains.
 */
const lock_poll_ms = 20;
const late_lock_poll_ms = 2;
const lock_wait_default_ms = 5_000;
/** Statements that a connection keeps prepared. */
const prepared_max = 16;

interface SqliteOptions {
  readonly forbidden: readonly string[];
  readonly idle_ms: number;
}

/** A SQLite file. Its calls block the thread: it belongs in a process or a background thread, never on an event loop. */
export class SqliteTarget extends SessionTarget<SqliteSession> {
  readonly dialect = 'sqlite';
  protected readonly catalogue = { ledger: ledgerOfSqlite, describe: describeSqlite };
  #Sqlite: typeof Database | undefined;
  #session: SqliteSession | undefined;
  /** The file that is open. */
  #file: Stats | undefined;
  readonly #idle: IdleTimer;

  constructor(
    readonly name: string,
    private readonly path: string,
    private readonly options: SqliteOptions,
  ) {
    super();
    this.#idle = new IdleTimer(options.idle_ms, () => void this.close());
  }

  async transaction<T>(
    options: TransactionOptions,
    work: (session: TargetSession) => Promise<T>,
  ): Promise<T> {
    return this.use(async (session) => {
      await this.#begin(session, options);
      try {
        options.signal?.throwIfAborted();
        const result = await work(session);
        options.signal?.throwIfAborted();
        if (options.end === 'rollback') await this.#rollBack(session, options);
        else session.exec('COMMIT');
        return result;
      } catch (error) {
        // Some errors have SQLite roll back by itself.
        if (session.inTransaction) session.exec('ROLLBACK');
        throw error;
      }
    });
  }

  async close(): Promise<void> {
    this.#idle.stop();
    this.#session?.close();
    this.#session = undefined;
  }

  /** What is checked at the commit only is checked for a rollback as well. */
  async #rollBack(session: SqliteSession, { cheap_checks_only }: TransactionOptions): Promise<void> {
    const violations = cheap_checks_only === true ? [] : await deferredViolations(session);
    session.exec('ROLLBACK');
    if (violations.length === 0) return;
    const made = await firstMade(session, violations);
    if (made === undefined) return;
    const [table, rowid, parent] = made;
    throw new TargetError(
      'SQL_ERROR',
      `target ${this.name}: FOREIGN KEY constraint failed at the end: ${rowid === null ? 'a row' : `row ${rowid}`} of ${table} references no row of ${parent} (SQLITE_CONSTRAINT_FOREIGNKEY)`,
    );
  }

  /** Waits for the write lock without blocking: it is free for moments only while others write batch after batch. */
  async #begin(
    session: SqliteSession,
    { access, lock_timeout_ms, signal }: TransactionOptions,
  ): Promise<void> {
    if (access === 'read') {
      session.exec('BEGIN');
      return;
    }
    const wait_ms = lock_timeout_ms || lock_wait_default_ms;
    for (const end = performance.now() + wait_ms; ;) {
      try {
        session.exec('PRAGMA busy_timeout = 0; BEGIN IMMEDIATE');
        return;
      } catch (error) {
        const locked = error instanceof TargetError && error.code === 'TARGET_LOCKED';
        if (!locked || performance.now() >= end) throw error;
      } finally {
        // Reads wait for commits, and commits for reads, as SQLite does by itself.
        session.exec(`PRAGMA busy_timeout = ${wait_ms}`);
      }
      const late = performance.now() > end - wait_ms / 2;
      await sleep((late ? late_lock_poll_ms : lock_poll_ms) * (0.5 + Math.random()), undefined, { signal });
    }
  }

  protected use<T>(work: (session: SqliteSession) => Promise<T>): Promise<T> {
    return this.#idle.during(async () => work(await this.#connect()));
  }

  async #connect(): Promise<SqliteSession> {
    // Loaded when it is needed: most members of a pool never are.
    this.#Sqlite ??= (await import('better-sqlite3')).default;
    // Nothing is awaited from here on: calls at the same time share one connection.
    const file = statSync(this.path, { throwIfNoEntry: false });
    if (this.#session !== undefined) {
      if (this.#session.inTransaction || isSameFile(file, this.#file)) return this.#session;
      // Another file is at the path by now: what is written to the one that is open would be lost with it.
      this.#session.close();
      this.#session = undefined;
    }
    refuseOwnFiles(this.name, this.path, file, this.options.forbidden);
    this.#session = new SqliteSession(openSqlite(this.#Sqlite, this.name, this.path), this.name);
    this.#file = file;
    return this.#session;
  }
}

/** A connection, with the statements that it ran last. */
class SqliteSession implements TargetSession {
  readonly dialect = 'sqlite';
  readonly #prepared = new Map<string, Database.Statement>();

  constructor(
    private readonly db: Database.Database,
    private readonly name: string,
  ) {}

  async query(sql: string, values: readonly SqlValue[] = []): Promise<SqlResult> {
    return this.#guarded(() => {
      const statement = this.#prepare(sql);
      const bound = bindings(values);
      if (statement.reader) {
        const rows = statement.raw(true).all(bound) as SqlRow[];
        return { rows, changes: rows.length };
      }
      return { rows: [], changes: statement.run(bound).changes };
    });
  }

  get inTransaction(): boolean {
    return this.db.inTransaction;
  }

  close(): void {
    this.db.close();
  }

  async script(sql: string): Promise<number> {
    return this.#guarded(() => {
      const count = this.db.prepare('SELECT total_changes()').pluck(true);
      const before = count.get() as bigint;
      this.db.exec(sql);
      return Number((count.get() as bigint) - before);
    });
  }

  /** Runs statements that change no rows. */
  exec(sql: string): void {
    this.#guarded(() => this.db.exec(sql));
  }

  async *iterate(sql: string, values: readonly SqlValue[] = []): AsyncGenerator<SqlRow> {
    const rows = this.#guarded(() => this.db.prepare(sql).raw(true).iterate(bindings(values)));
    try {
      for (;;) {
        const next = this.#guarded(() => rows.next());
        if (next.done === true) return;
        yield next.value as SqlRow;
      }
    } finally {
      rows.return?.();
    }
  }

  /** Prepares a statement, or takes it prepared: batches run the same few. SQLite itself notes when a table was altered. */
  #prepare(sql: string): Database.Statement {
    let statement = this.#prepared.get(sql);
    if (statement === undefined) {
      statement = this.db.prepare(sql);
      if (this.#prepared.size >= prepared_max) this.#prepared.clear();
      this.#prepared.set(sql, statement);
    }
    return statement;
  }

  #guarded<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw sqliteError(this.name, error);
    }
  }
}

/** better-sqlite3 takes `?1` for a parameter named 1. */
function bindings(values: readonly SqlValue[]): Record<string, SqlValue> {
  return Object.fromEntries(
    values.map((value, i) => [i + 1, typeof value === 'boolean' ? BigInt(value) : value]),
  );
}

/** HXO's own files are the same however they are spelt or linked: compared by real path and by inode. */
function refuseOwnFiles(
  name: string,
  path: string,
  file: Stats | undefined,
  forbidden: readonly string[],
): asserts file is Stats {
  if (file === undefined) {
    throw new TargetError(
      'TARGET_REFUSED',
      `target ${name} is a SQLite file that does not exist. Check ${targetVariable(name)}, or create an empty file there.`,
    );
  }
  const real = realpathSync(path);
  for (const own of forbidden) {
    const place = statSync(own, { throwIfNoEntry: false });
    if (place === undefined) continue;
    const inside = place.isDirectory() && `${real}${sep}`.startsWith(`${realpathSync(own)}${sep}`);
    if (!inside && !isSameFile(place, file)) continue;
    throw new TargetError(
      'TARGET_UNKNOWN',
      `target ${name} is one of HXO's own files. Point ${targetVariable(name)} at a database of yours.`,
    );
  }
}

function openSqlite(Sqlite: typeof Database, name: string, path: string): Database.Database {
  let db: Database.Database | undefined;
  try {
    db = new Sqlite(path, { fileMustExist: true, timeout: lock_wait_default_ms });
    db.defaultSafeIntegers(true);
    // The ledger's row must be as durable as HXO's own record of the shard.
    db.pragma('synchronous = FULL');
    return db;
  } catch (error) {
    db?.close();
    throw sqliteError(name, error);
  }
}

function isSameFile(a: Stats | undefined, b: Stats | undefined): boolean {
  return a?.dev === b?.dev && a?.ino === b?.ino;
}

function sqliteError(name: string, error: unknown): unknown {
  const { code, message } = error as { readonly code?: unknown; readonly message: string };
  if (error instanceof TargetError) return error;
  const known = typeof code === 'string' && code.startsWith('SQLITE_');
  // better-sqlite3's own complaints about a statement or its values have no code.
  if (!known) return new TargetError('SQL_ERROR', `target ${name}: ${message}`, { cause: error });
  const text = `target ${name}: ${message} (${code})`;
  if (/^SQLITE_(BUSY|LOCKED)/.test(code)) return new TargetError('TARGET_LOCKED', text, { cause: error });
  if (/^SQLITE_(FULL|IOERR|CANTOPEN|NOMEM|PROTOCOL|READONLY_DBMOVED)/.test(code))
    return new TargetError('TARGET_UNREACHABLE', text, { cause: error });
  const outside = /within a transaction|inside a transaction|from within a transaction/.test(message);
  return new TargetError(outside ? 'NEEDS_NO_TRANSACTION' : 'SQL_ERROR', text, { cause: error });
}
