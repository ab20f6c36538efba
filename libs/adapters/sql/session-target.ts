import type {
  SqlDialect,
  SqlResult,
  SqlRow,
  SqlValue,
  TargetDatabase,
  TargetSession,
  TargetTable,
  TransactionOptions,
} from '#hxo/execute';

/** How a dialect tells of its tables. */
interface Catalogue {
  ledger(session: TargetSession): ReturnType<TargetDatabase['ledger']>;
  describe(session: TargetSession, table: string): Promise<TargetTable | null>;
}

/** A target whose every method is some work on a session of its one connection. */
export abstract class SessionTarget<Session extends TargetSession> implements TargetDatabase {
  abstract readonly dialect: SqlDialect;
  abstract readonly name: string;
  protected abstract readonly catalogue: Catalogue;

  /** Runs some work on the connection, which is opened when there is none. */
  protected abstract use<T>(work: (session: Session) => Promise<T>): Promise<T>;

  abstract transaction<T>(
    options: TransactionOptions,
    work: (session: TargetSession) => Promise<T>,
  ): Promise<T>;

  abstract close(): Promise<void>;

  query(sql: string, values: readonly SqlValue[] = []): Promise<SqlResult> {
    return this.use((session) => session.query(sql, values));
  }

  script(sql: string): Promise<number> {
    return this.use((session) => session.script(sql));
  }

  iterate(): AsyncGenerator<SqlRow> {
    throw new Error('Rows are streamed in a transaction only.');
  }

  ledger(): ReturnType<TargetDatabase['ledger']> {
    return this.use((session) => this.catalogue.ledger(session));
  }

  describe(table: string): Promise<TargetTable | null> {
    return this.use((session) => this.catalogue.describe(session, table));
  }
}
