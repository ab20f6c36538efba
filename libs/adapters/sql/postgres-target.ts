import type { Client } from 'pg';
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
import { describePostgres, ledgerOfPostgres } from './postgres-catalogue.js';
import { postgresError } from './postgres-error.js';
import { SessionTarget } from './session-target.js';

const connect_ms = 10_000;
const fetch_rows = 2_000;

/**
 * What every connection begins with: texts as the tokenizer reads them, and a server that notices within a second when
 * the worker is gone, so that a killed worker's statement does not hold its locks to its end.
 */
const greetings = ['SET standard_conforming_strings = on', 'SET client_connection_check_interval = 1000'];

/** A PostgreSQL database. */
export class PostgresTarget extends SessionTarget<PostgresSession> {
  readonly dialect = 'postgres';
  protected readonly catalogue = { ledger: ledgerOfPostgres, describe: describePostgres };
  #client: Promise<Client> | undefined;
  readonly #idle: IdleTimer;

  constructor(
    readonly name: string,
    private readonly url: string,
    idle_ms: number,
  ) {
    super();
    this.#idle = new IdleTimer(idle_ms, () => void this.close());
  }

  async transaction<T>(
    options: TransactionOptions,
    work: (session: TargetSession) => Promise<T>,
  ): Promise<T> {
    const { signal } = options;
    signal?.throwIfAborted();
    const cut = (): void => void this.close();
    signal?.addEventListener('abort', cut, { once: true });
    try {
      return await this.use((session) => inTransaction(session, options, work));
    } catch (error) {
      // Whatever the connection says of having been cut, this is why it was.
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener('abort', cut);
    }
  }

  async close(): Promise<void> {
    this.#idle.stop();
    const client = this.#client;
    this.#client = undefined;
    // pg cuts the connection when a query is under way, and takes leave otherwise.
    await (await client?.catch(() => undefined))?.end().catch(() => undefined);
  }

  protected use<T>(work: (session: PostgresSession) => Promise<T>): Promise<T> {
    return this.#idle.during(async () => {
      const connecting = (this.#client ??= this.#connect());
      try {
        return await work(new PostgresSession(await connecting, this));
      } catch (error) {
        const lost = error instanceof TargetError && /UNREACHABLE|REFUSED/.test(error.code);
        if (lost && this.#client === connecting) await this.close();
        throw error;
      }
    });
  }

  async #connect(): Promise<Client> {
    try {
      // Loaded when it is needed: most members of a pool never are.
      const { default: pg } = await import('pg');
      const client = new pg.Client({
        connectionString: this.url,
        application_name: 'hxo',
        connectionTimeoutMillis: connect_ms,
        keepAlive: true,
        // Every type as PostgreSQL's own text for it: numbers of JavaScript would lose digits.
        types: { getTypeParser: () => (text: string) => text },
      });
      // A connection that breaks while nothing runs is told by the next query.
      client.on('error', () => {
        this.#client = undefined;
      });
      await client.connect();
      for (const greeting of greetings) await client.query(greeting).catch(() => undefined);
      return client;
    } catch (error) {
      throw this.failure(error);
    }
  }

  /** An error of pg in HXO's terms, without what must not be shown. */
  failure(error: unknown): unknown {
    return postgresError(this.name, targetVariable(this.name), error, this.url);
  }
}

/** A connection while it is in use. */
class PostgresSession implements TargetSession {
  readonly dialect = 'postgres';

  constructor(
    private readonly client: Client,
    private readonly target: PostgresTarget,
  ) {}

  async query(sql: string, values: readonly SqlValue[] = []): Promise<SqlResult> {
    try {
      const { rows, rowCount } = await this.client.query({
        text: sql,
        values: values.map(bindable),
        rowMode: 'array',
      });
      return { rows: rows as SqlRow[], changes: rowCount ?? 0 };
    } catch (error) {
      throw this.target.failure(error);
    }
  }

  async script(sql: string): Promise<number> {
    try {
      const results = [await this.client.query(sql)].flat() as {
        readonly command: string | null;
        readonly rowCount: number | null;
      }[];
      return results
        .filter(({ command }) => /^(INSERT|UPDATE|DELETE|MERGE)/.test(command ?? ''))
        .reduce((sum, { rowCount }) => sum + (rowCount ?? 0), 0);
    } catch (error) {
      throw this.target.failure(error);
    }
  }

  async *iterate(sql: string, values: readonly SqlValue[] = []): AsyncGenerator<SqlRow> {
    await this.query(`DECLARE hxo_rows NO SCROLL CURSOR FOR ${sql}`, values);
    for (;;) {
      const { rows } = await this.query(`FETCH FORWARD ${fetch_rows} FROM hxo_rows`);
      yield* rows;
      if (rows.length < fetch_rows) break;
    }
    await this.query('CLOSE hxo_rows');
  }
}

async function inTransaction<T>(
  session: PostgresSession,
  { access, end, lock_timeout_ms, statement_timeout_ms }: TransactionOptions,
  work: (session: TargetSession) => Promise<T>,
): Promise<T> {
  await session.script(
    [
      access === 'read' ? 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY' : 'BEGIN',
      ...(lock_timeout_ms ? [`SET LOCAL lock_timeout = ${lock_timeout_ms}`] : []),
      ...(statement_timeout_ms ? [`SET LOCAL statement_timeout = ${statement_timeout_ms}`] : []),
    ].join(';'),
  );
  try {
    const result = await work(session);
    // What is checked at the commit only is checked before a rollback as well.
    await session.script(end === 'rollback' ? 'SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK' : 'COMMIT');
    return result;
  } catch (error) {
    await session.script('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

function bindable(value: SqlValue): string | boolean | null | Buffer {
  if (value === null || typeof value === 'boolean') return value;
  return value instanceof Uint8Array ? Buffer.from(value) : String(value);
}
