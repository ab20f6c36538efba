import { parameter, type TargetDatabase, type TargetSession } from '#hxo/execute';

/** The row of one batch, of one file, or of a backfill's latest cut (see sql/ledger-rows.ts). */
export interface LedgerKey {
  readonly operation: string;
  readonly item: string;
}

export interface LedgerRow {
  readonly checksum: string;
  readonly detail: string;
  readonly state: string;
  readonly rows_changed: number;
}

/** A number for PostgreSQL's advisory locks: whoever makes the ledger's table holds it. */
const making_lock = 0x48584f31;

/** The ledger's rows, inside one transaction. */
export class Ledger {
  constructor(
    private readonly session: TargetSession,
    private readonly table: string,
  ) {}

  async find({ operation, item }: LedgerKey): Promise<LedgerRow | null> {
    const { rows } = await this.#query(
      `SELECT checksum, detail, state, rows_changed FROM ${this.table} WHERE operation = @ AND item = @`,
      [operation, item],
    );
    const [row] = rows;
    if (row === undefined) return null;
    const [checksum, detail, state, rows_changed] = row as [string, string, string, string | bigint];
    return { checksum, detail, state, rows_changed: Number(rows_changed) };
  }

  /**
   * Adds a row. False when it is there already; one that another transaction is about to commit is waited for, as long as
   * the lock timeout lets it.
   */
  async add({ operation, item }: LedgerKey, row: Omit<LedgerRow, 'rows_changed'>): Promise<boolean> {
    const { changes } = await this.#query(
      `INSERT INTO ${this.table} (operation, item, checksum, detail, state, rows_changed, applied_at)
       VALUES (@, @, @, @, @, 0, @) ON CONFLICT (operation, item) DO NOTHING`,
      [operation, item, row.checksum, row.detail, row.state, new Date().toISOString()],
    );
    return changes === 1;
  }

  /**
   * Makes a row that says `started` another one: its file runs from its beginning, with the content that it has now. False
   * when no row says so.
   */
  async beginAgain({ operation, item }: LedgerKey, row: Omit<LedgerRow, 'rows_changed'>): Promise<boolean> {
    const { changes } = await this.#query(
      `UPDATE ${this.table} SET checksum = @, detail = @, state = @, applied_at = @
       WHERE operation = @ AND item = @ AND state = 'started'`,
      [row.checksum, row.detail, row.state, new Date().toISOString(), operation, item],
    );
    return changes === 1;
  }

  async finish({ operation, item }: LedgerKey, rows_changed: number): Promise<void> {
    await this.#query(
      `UPDATE ${this.table} SET state = 'applied', rows_changed = @ WHERE operation = @ AND item = @`,
      [rows_changed, operation, item],
    );
  }

  /** Whether a cut is the backfill's latest; then it stays so until this transaction ends. */
  async holdCut(operation: string, cut: string): Promise<boolean> {
    // SQLite has one writer at a time anyway.
    const hold = this.session.dialect === 'postgres' ? ' FOR SHARE' : '';
    const { rows } = await this.#query(
      `SELECT 1 FROM ${this.table} WHERE operation = @ AND item = '' AND checksum = @${hold}`,
      [operation, cut],
    );
    return rows.length > 0;
  }

  /** Moves the backfill's latest cut on. False when it was not the one expected. */
  async moveCut(operation: string, from: string, to: string): Promise<boolean> {
    const { changes } = await this.#query(
      `UPDATE ${this.table} SET checksum = @ WHERE operation = @ AND item = '' AND checksum = @`,
      [to, operation, from],
    );
    return changes === 1;
  }

  /** Batches of a backfill. */
  async count(operation: string): Promise<number> {
    const { rows } = await this.#query(
      `SELECT count(*) FROM ${this.table} WHERE operation = @ AND item <> ''`,
      [operation],
    );
    return Number(rows[0]![0]);
  }

  /** Runs a statement whose `@` are parameters, in their order. */
  #query(sql: string, values: readonly (string | number)[]): ReturnType<TargetSession['query']> {
    let number = 0;
    return this.session.query(
      sql.replaceAll('@', () => parameter(this.session.dialect, ++number)),
      values,
    );
  }
}

/** Makes the ledger's table unless it is there; returns its name. Any number of workers may do so at once. */
export async function ensureLedger(database: TargetDatabase, lock_timeout_ms: number): Promise<string> {
  const { table, exists } = await database.ledger();
  return exists ? table : makeLedger(database, lock_timeout_ms);
}

async function makeLedger(database: TargetDatabase, lock_timeout_ms: number): Promise<string> {
  return database.transaction({ access: 'write', lock_timeout_ms }, async (session) => {
    // CREATE TABLE IF NOT EXISTS of PostgreSQL fails when two run at the same moment.
    if (session.dialect === 'postgres') await session.query(`SELECT pg_advisory_xact_lock(${making_lock})`);
    // Another worker may have made it by now, where the current schema was another.
    const { table } = await database.ledger();
    await session.script(
      `CREATE TABLE IF NOT EXISTS ${table} (
         operation text NOT NULL,
         item text NOT NULL,
         checksum text NOT NULL,
         detail text NOT NULL,
         state text NOT NULL,
         rows_changed bigint NOT NULL,
         applied_at text NOT NULL,
         PRIMARY KEY (operation, item)
       )`,
    );
    return table;
  });
}
