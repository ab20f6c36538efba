import { isDeepStrictEqual } from 'node:util';
import {
  FailShard,
  TargetError,
  type KeyRange,
  type SqlValue,
  type TargetDatabase,
  type TargetTable,
} from '#hxo/execute';
import { ensureLedger } from './ledger.js';

/** The one statement that changes a batch's rows. */
export interface Change {
  readonly sql: string;
  readonly values: readonly SqlValue[];
}

/** The change of each batch of a backfill, by its range. */
export type RangeChange = (range: KeyRange) => Change;

/**
 * What earlier batches have learnt of a target, so that those behind them need not ask: its ledger, the last table, and
 * the last backfill's change.
 */
export class Learnt {
  #ledger: string | undefined;
  #table: TargetTable | undefined;
  #change: { readonly backfill: string; readonly of: RangeChange } | undefined;

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

  /** The change of a backfill, which its text names in full; `check` makes it unless it is the last one. */
  async change(backfill: string, check: () => Promise<RangeChange>): Promise<RangeChange> {
    if (this.#change?.backfill !== backfill) this.#change = { backfill, of: await check() };
    return this.#change.of;
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
