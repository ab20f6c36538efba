import { isDeepStrictEqual } from 'node:util';
import { FailShard, TargetError, type TargetDatabase, type TargetTable } from '#hxo/execute';
import { ensureLedger } from './ledger.js';

/** What earlier batches have learnt of a target, so that those behind them need not ask: its ledger, and the last table. */
export class Learnt {
  #ledger: string | undefined;
  #table: TargetTable | undefined;

  constructor(private readonly database: TargetDatabase) {}

  /** The ledger's name; its table is made unless it is there. */
  async ledger(lock_timeout_ms: number): Promise<string> {
    return (this.#ledger ??= await ensureLedger(this.database, lock_timeout_ms));
  }

  /** A table as its database describes it; null when there is none of that name. */
  async table(name: string): Promise<TargetTable | null> {
    if (this.#table?.name === name) return this.#table;
    const table = await this.database.describe(name);
    if (table !== null) this.#table = table;
    return table;
  }

  /** Asks again. */
  async holds(): Promise<boolean> {
    const ledger = this.#ledger === undefined ? undefined : await this.database.ledger();
    if (ledger !== undefined && (!ledger.exists || ledger.table !== this.#ledger)) return false;
    const table = this.#table && (await this.database.describe(this.#table.name));
    return isDeepStrictEqual(table, this.#table);
  }
}

const learnt = new WeakMap<TargetDatabase, Learnt>();

/**
 * Does some work with what was learnt of a target. When it fails, and what was learnt holds no more, it is forgotten and
 * the work done once again: since then the database may have been dropped and made anew, or its tables altered.
 *
 * @param work leaves nothing behind when it fails
 */
export async function withLearnt<T>(
  database: TargetDatabase,
  work: (learnt: Learnt) => Promise<T>,
): Promise<T> {
  const known = learnt.get(database);
  if (known !== undefined) {
    try {
      return await work(known);
    } catch (error) {
      if (!mayBeOutdated(error) || (await known.holds())) throw error;
    }
  }
  const fresh = new Learnt(database);
  learnt.set(database, fresh);
  return work(fresh);
}

function mayBeOutdated(error: unknown): boolean {
  if (error instanceof FailShard) return error.code === 'COLUMN_GONE';
  return error instanceof TargetError && error.code === 'SQL_ERROR';
}
