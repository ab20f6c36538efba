import { canonicalJson } from '#truth';
import { parameter, type SqlRow, type TargetSession, type TargetTable } from '../execute/targets.js';
import {
  encodeKeyValue,
  rangePredicate,
  type KeyJson,
  type KeyRange,
  type Predicate,
} from '../sql/key-range.js';
import type { AppliedRange } from '../sql/ledger-rows.js';

/** Batches are held in memory until all are cut, for each of them names the cut that it belongs to. */
const ranges_max = 1_000_000;
/** Batches of so many rows are found one by one, by a question each; smaller ones by numbering the rows. */
const leaps_from = 500;

/** Thrown when a table cannot be cut into batches. */
export class TableRefused extends Error {
  override readonly name = 'TableRefused';
}

/** A {@link KeyRange} whose end may be open: a null `to` is the end of the table. */
interface OpenRange {
  readonly from: KeyJson | null;
  readonly to: KeyJson | null;
}

/** A batch that the ledger knows, or a new one. */
export interface Batch {
  readonly place: string;
  readonly range: KeyRange;
  readonly rows: number;
  readonly applied: boolean;
}

/** Nothing is between ranges that follow each other, nor before the beginning. */
export function isEmpty({ from, to }: OpenRange): boolean {
  return to === null || (from !== null && canonicalJson(from) === canonicalJson(to));
}

const all_rows: Predicate = { sql: '1 = 1', values: [] };

/** Cuts the rows of a table, in one snapshot, in the order of their keys. */
export class Cutter {
  /** The key's columns, quoted. */
  readonly #columns: readonly string[];
  readonly #list: string;

  constructor(
    private readonly session: TargetSession,
    private readonly table: TargetTable,
    private readonly key: readonly string[],
    private readonly batch_size: number,
  ) {
    this.#columns = key.map((column) => this.#column(column).quoted);
    this.#list = this.#columns.join(', ');
  }

  /** A row with NULL in its key is in no range: better to say so than to leave it out. */
  async refuseNulls(): Promise<void> {
    const nullable = this.key.filter((column) => this.#column(column).nullable);
    if (nullable.length === 0) return;
    const isNull = nullable.map((column) => `${this.#column(column).quoted} IS NULL`).join(' OR ');
    const { rows } = await this.session.query(`SELECT 1 FROM ${this.table.quoted} WHERE ${isNull} LIMIT 1`);
    if (rows.length === 0) return;
    throw new TableRefused(
      `key: table ${this.table.name} has rows with NULL in ${nullable.join(' or ')}. Fill them, or name another unique key.`,
    );
  }

  async count(where: Predicate = all_rows): Promise<number> {
    const { rows } = await this.session.query(
      `SELECT count(*) FROM ${this.table.quoted} WHERE ${where.sql}`,
      where.values,
    );
    return Number(rows[0]![0]);
  }

  /** Counts the rows of ranges, which come in their order, above a key: those that follow each other are one. */
  async countAbove(key: KeyJson, ranges: readonly AppliedRange[]): Promise<number> {
    const runs: KeyRange[] = [];
    for (const { range } of ranges) {
      const last = runs.at(-1);
      if (last !== undefined && isEmpty({ from: last.to, to: range.from }))
        runs[runs.length - 1] = { from: last.from, to: range.to };
      else runs.push(range);
    }
    let rows = 0;
    for (const run of runs) rows += await this.count(this.#both(run, { from: key, to: null }));
    return rows;
  }

  /** The largest key, or null where there are no rows. */
  async largest(where: Predicate = all_rows): Promise<KeyJson | null> {
    const backwards = this.#columns.map((column) => `${column} DESC`).join(', ');
    return this.#keyRead({
      sql: `SELECT ${this.#list} FROM ${this.table.quoted} WHERE ${where.sql} ORDER BY ${backwards} LIMIT 1`,
      values: where.values,
    });
  }

  /** The key of the row at a place in key order, from 1. */
  async keyOfRow(place: number): Promise<KeyJson> {
    return (await this.#keyRead(this.#numberedAt(place, all_rows)))!;
  }

  /** Cuts a gap up to its end (null: open), and no further than `upper`; adds its batches. A gap without rows has none. */
  async cut(gap: OpenRange, upper: KeyJson, places: Generator<string, never>, into: Batch[]): Promise<void> {
    let from = gap.from;
    const add = (to: KeyJson, rows: number): void => {
      if (into.length >= ranges_max) {
        throw new TableRefused(
          `batch_size: table ${this.table.name} has more than ${ranges_max} batches of ${this.batch_size} rows. Raise it.`,
        );
      }
      into.push({ place: places.next().value, range: { from, to }, rows, applied: false });
      from = to;
    };
    const within = (): Predicate => this.#both({ from, to: gap.to }, { from: null, to: upper });
    if (this.batch_size < leaps_from) {
      for await (const last of this.#numberedEach(within())) add(last, this.batch_size);
    } else {
      for (let last = await this.#leap(within()); last !== null; last = await this.#leap(within()))
        add(last, this.batch_size);
    }
    // The last one alone may be smaller.
    const left = await this.count(within());
    if (left > 0) add((await this.largest(within()))!, left);
  }

  /**
   * The key of the row that ends a whole batch; null when fewer rows are left. The OFFSET steps over the rows of this one
   * batch, counted from a key: each entry of the index is passed once in all, and none is sorted or handed over.
   */
  async #leap(where: Predicate): Promise<KeyJson | null> {
    return this.#keyRead({
      sql: `SELECT ${this.#list} FROM ${this.table.quoted} WHERE ${where.sql} ORDER BY ${this.#list} LIMIT 1 OFFSET ${this.batch_size - 1}`,
      values: where.values,
    });
  }

  /** The keys of all batches' last rows, streamed: small batches would cost more questions than rows. */
  async *#numberedEach(where: Predicate): AsyncGenerator<KeyJson> {
    const every = `${this.#numbered(where.sql)} WHERE hxo_row % ${this.batch_size} = 0 ORDER BY hxo_row`;
    let place = 0;
    for await (const row of this.session.iterate(every, where.values)) {
      place += this.batch_size;
      await this.#refuseMisread(row, this.#numberedAt(place, where));
      yield row.map(encodeKeyValue);
    }
  }

  /** The key that a query finds, or null. */
  async #keyRead(query: Predicate): Promise<KeyJson | null> {
    const { rows } = await this.session.query(query.sql, query.values);
    const [row] = rows;
    if (row === undefined) return null;
    await this.#refuseMisread(row, query);
    return row.map(encodeKeyValue);
  }

  /**
   * Every bound has to be the key that the database has: then each row is in one range, whatever the keys between bounds are.
   * A text that is not UTF-8, as SQLite may hold, is read with U+FFFD in the place of what is none, and sorts elsewhere; one
   * that truly has this character equals what was read.
   * @param query finds the row again
   */
  async #refuseMisread(row: SqlRow, query: Predicate): Promise<void> {
    const odd = this.key.filter((_, i) => String(row[i]).includes('\ufffd'));
    if (odd.length === 0) return;
    const places = row.map((_, i) => parameter(this.session.dialect, query.values.length + i + 1)).join(', ');
    const { rows } = await this.session.query(
      `SELECT 1 FROM (${query.sql}) AS hxo_read WHERE (${this.#list}) = (${places})`,
      [...query.values, ...row],
    );
    if (rows.length > 0) return;
    throw new TableRefused(
      `key: table ${this.table.name} has texts in ${odd.join(' or ')} that are not UTF-8, and rows would be left out. Mend them, or name another unique key.`,
    );
  }

  /** Rows that are in two ranges. */
  #both(one: OpenRange, other: OpenRange): Predicate {
    const { dialect } = this.session;
    const first = rangePredicate(dialect, this.#columns, one);
    const second = rangePredicate(dialect, this.#columns, other, first.values.length + 1);
    return { sql: `${first.sql} AND ${second.sql}`, values: [...first.values, ...second.values] };
  }

  /** The key of the row that has a number in key order, from 1. */
  #numberedAt(place: number, where: Predicate): Predicate {
    return { sql: `${this.#numbered(where.sql)} WHERE hxo_row = ${place}`, values: where.values };
  }

  /** Keys with their numbers in key order, from 1. */
  #numbered(condition: string): string {
    const numbered = `SELECT ${this.#list}, row_number() OVER (ORDER BY ${this.#list}) AS hxo_row FROM ${this.table.quoted} WHERE ${condition}`;
    return `SELECT ${this.#list} FROM (${numbered}) AS hxo_numbered`;
  }

  #column(column: string): TargetTable['columns'][number] {
    return this.table.columns.find(({ name }) => name === column)!;
  }
}
