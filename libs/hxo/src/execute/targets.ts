import { ExecutorError, type FailureVerdict } from './contract.js';

/** The databases that plans work on. None of them is HXO's own. */
export type SqlDialect = 'sqlite' | 'postgres';

/**
 * A value of a row, or a bound parameter. SQLite's integers are read as bigint; PostgreSQL's values of every type are
 * read as its own text for them. Exact, both ways.
 */
export type SqlValue = string | number | bigint | boolean | null | Uint8Array;

export type SqlRow = readonly SqlValue[];

export interface SqlResult {
  /** Columns in the order of the query. */
  readonly rows: readonly SqlRow[];
  /** Rows inserted, updated or deleted. */
  readonly changes: number;
}

/** A connection to a target, inside a transaction or outside. Every method throws {@link TargetError}. */
export interface TargetSession {
  readonly dialect: SqlDialect;
  /** Runs one statement. Parameters are `?1`, `?2`, … in SQLite and `$1`, `$2`, … in PostgreSQL. */
  query(sql: string, values?: readonly SqlValue[]): Promise<SqlResult>;
  /** Runs a text of any number of statements without parameters. Returns the rows that they changed. */
  script(sql: string): Promise<number>;
  /** Streams a query's rows, few of them in memory at a time. Only in a transaction, one at a time. */
  iterate(sql: string, values?: readonly SqlValue[]): AsyncGenerator<SqlRow>;
}

export interface TransactionOptions {
  /** `read` sees one snapshot and changes nothing; `write` takes SQLite's write lock at once. */
  readonly access: 'read' | 'write';
  /**
   * How it ends when the work succeeds; it is rolled back when the work throws. `commit` when left out. A `rollback` fails
   * where a commit would, for a constraint that is checked at the end.
   */
  readonly end?: 'commit' | 'rollback';
  /** Does without those checks of a `rollback` that read whole tables (SQLite). */
  readonly cheap_checks_only?: boolean;
  /** Longest wait for a lock. Left out or 0: the target's own. */
  readonly lock_timeout_ms?: number;
  /** Longest run of one statement, where the target can tell (PostgreSQL). Left out or 0: the target's own. */
  readonly statement_timeout_ms?: number;
  /** When aborted, the connection is cut and the transaction with it. */
  readonly signal?: AbortSignal;
}

/** A table as its database describes it. Names are exact; `quoted` ones may stand in SQL. */
export interface TargetTable {
  /** Schema and name, as `public.customer`; SQLite has the name only. */
  readonly name: string;
  /** Quoted, with its schema. */
  readonly quoted: string;
  /** Quoted, without a schema: how its columns are qualified. */
  readonly alias: string;
  readonly columns: readonly TargetColumn[];
  readonly primary_key: readonly string[];
  /**
   * Columns of every unique index over plain columns and all rows, the primary key's among them. The index compares them as
   * the columns themselves compare.
   */
  readonly unique_keys: readonly (readonly string[])[];
}

export interface TargetColumn {
  readonly name: string;
  readonly quoted: string;
  readonly nullable: boolean;
}

export interface TargetDatabase extends TargetSession {
  /** As plans name it. */
  readonly name: string;
  /** Where `hxo_ledger` is, or would be made: its name, quoted and with its schema. */
  ledger(): Promise<{ readonly table: string; readonly exists: boolean }>;
  /** Looks a table up; `schema.table` in PostgreSQL. Null when there is none of that name. */
  describe(table: string): Promise<TargetTable | null>;
  /** One transaction at a time on a connection. */
  transaction<T>(options: TransactionOptions, work: (session: TargetSession) => Promise<T>): Promise<T>;
  /** Closes the connection. The next use opens another. */
  close(): Promise<void>;
}

/** Databases by the names that plans give them. */
export interface Targets {
  /** What kind of database it is, without connecting. Throws {@link TargetError} `TARGET_UNKNOWN` naming the variable. */
  dialectOf(name: string): SqlDialect;
  /**
   * The target, connected at its first use and kept until it has been idle for a while. A SQLite file must exist.
   * Throws {@link TargetError}.
   */
  open(name: string): TargetDatabase;
}

/** What a target's error means for the shard that met it. */
const verdicts = {
  /** Not configured, or HXO's own database. */
  TARGET_UNKNOWN: 'fail',
  /** No connection, or lost: down, starting, full. */
  TARGET_UNREACHABLE: 'retry',
  /** Wrong user, password or database name, or a SQLite file that does not exist. */
  TARGET_REFUSED: 'fail',
  /** More than one table `hxo_ledger` in a PostgreSQL database. */
  SEVERAL_LEDGERS: 'fail',
  /** Another transaction held a lock for longer than `lock_timeout_ms`. */
  TARGET_LOCKED: 'retry',
  /** A deadlock, or a serialization failure. */
  TARGET_CONFLICT: 'retry',
  /** A statement ran longer than `statement_timeout_ms`. */
  STATEMENT_TIMEOUT: 'retry',
  /** A statement that cannot run inside a transaction. */
  NEEDS_NO_TRANSACTION: 'fail',
  /** Anything else that the database refuses, in its own words. */
  SQL_ERROR: 'fail',
} as const satisfies Record<string, FailureVerdict>;

export type TargetErrorCode = keyof typeof verdicts;

/** Thrown when a target cannot do what it was asked. The message never shows a URL or a password. */
export class TargetError extends ExecutorError {
  override readonly name = 'TargetError';
  readonly verdict: FailureVerdict;
  constructor(
    override readonly code: TargetErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(code, message, options);
    this.verdict = verdicts[code];
  }
}

/** The variable that holds a target's URL. */
export function targetVariable(name: string): string {
  return `HXO_TARGET_${name.toUpperCase()}_URL`;
}

/** A numbered parameter of a dialect, from 1. */
export function parameter(dialect: SqlDialect, number: number): string {
  return `${dialect === 'sqlite' ? '?' : '$'}${number}`;
}
