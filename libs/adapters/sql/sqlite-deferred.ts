import { TargetError, type TargetSession } from '#hxo/execute';

/** Violations of one table that are looked at: those of a database that had more before may hide a new one. */
const violations_max = 100_000;

/** A row whose foreign key finds no row: its table, its rowid (null without one), the table it references, and which key. */
export type Violation = readonly [table: string, rowid: bigint | null, parent: string, key: bigint];

/**
 * Violations of foreign keys that are checked at the commit, or were before. SQLite keeps count of those that a transaction
 * makes, but tells nobody; what it tells takes the reading of a whole table. So only those tables are read in which a
 * check may be deferred, and none when the connection does not enforce foreign keys.
 */
export async function deferredViolations(session: TargetSession): Promise<Violation[]> {
  const { rows } = await session.query(
    `SELECT name FROM main.sqlite_schema WHERE type = 'table'
       AND (SELECT foreign_keys FROM pragma_foreign_keys)
       AND (sql LIKE '%deferrable%' OR (SELECT defer_foreign_keys FROM pragma_defer_foreign_keys))`,
  );
  const found: Violation[] = [];
  for (const [table] of rows as readonly [string][]) {
    let count = 0;
    for await (const violation of violationsOf(session, table)) {
      found.push(violation);
      if (++count === violations_max) break;
    }
  }
  return found;
}

/** The first of a rolled back transaction's violations that is not there without it: COMMIT would have failed. */
export async function firstMade(
  session: TargetSession,
  violations: readonly Violation[],
): Promise<Violation | undefined> {
  // Rows without a rowid look alike, and are counted.
  const made = new Map<string, number>();
  const count = (violation: Violation, by: number): void => {
    made.set(String(violation), (made.get(String(violation)) ?? 0) + by);
  };
  for (const violation of violations) count(violation, 1);
  for (const table of new Set(violations.map(([name]) => name)))
    for await (const violation of violationsOf(session, table))
      if (made.has(String(violation))) count(violation, -1);
  return violations.find((violation) => made.get(String(violation))! > 0);
}

async function* violationsOf(session: TargetSession, table: string): AsyncGenerator<Violation> {
  const check = `SELECT "table", rowid, parent, fkid FROM pragma_foreign_key_check(?1, 'main')`;
  try {
    for await (const row of session.iterate(check, [table])) yield row as unknown as Violation;
  } catch (error) {
    // The table is not there without the transaction, or a key of it references no unique one: COMMIT minds neither.
    if (!(error instanceof TargetError) || error.code !== 'SQL_ERROR') throw error;
  }
}
