import { parameter, type TargetDatabase, type TargetSession } from '../execute/targets.js';
import { parseRange, type KeyRange } from './key-range.js';

/**
 * The ledger: the table `hxo_ledger` in each target, which tells what HXO has applied there. Its rows:
 *
 *     operation    item        checksum            detail         state     rows_changed
 *     migrations   file name   SHA-256 of file                    applied   of the file (`started`: outside a transaction)
 *     SHA-256      place       cut of its plan     [from, to]     applied   of the batch
 *     SHA-256      ''          latest cut                         cut       0
 *
 * `operation` names a backfill (see operationId), `place` orders its batches (see by-sql-batch-places.ts), and the row
 * without an item tells which cut of the backfill may go on: two plans that have cut the same rows differently must not
 * both apply theirs.
 */
export const files_operation = 'migrations';

/** A migration file that is applied, or `started` only. */
export interface AppliedFile {
  readonly checksum: string;
  readonly state: string;
}

/** A batch that was applied. */
export interface AppliedRange {
  readonly place: string;
  readonly range: KeyRange;
}

/** What the ledger knows of one backfill. */
export interface BackfillRecord {
  /** The cut that may go on; null when nothing was applied yet. */
  readonly cut: string | null;
  /** In the order of their places, which is that of their keys. */
  readonly ranges: readonly AppliedRange[];
}

/** Every migration file that the ledger knows, by its name. */
export async function readAppliedFiles(database: TargetDatabase): Promise<ReadonlyMap<string, AppliedFile>> {
  const { table, exists } = await database.ledger();
  if (!exists) return new Map();
  const { rows } = await database.query(
    `SELECT item, checksum, state FROM ${table} WHERE operation = '${files_operation}'`,
  );
  return new Map(
    (rows as readonly [string, string, string][]).map(([item, checksum, state]) => [
      item,
      { checksum, state },
    ]),
  );
}

/** What the ledger knows of a backfill, as one transaction sees it. */
export async function readBackfill(
  session: TargetSession,
  ledger: { readonly table: string; readonly exists: boolean },
  operation: string,
): Promise<BackfillRecord> {
  if (!ledger.exists) return { cut: null, ranges: [] };
  const { rows } = await session.query(
    `SELECT item, checksum, detail FROM ${ledger.table} WHERE operation = ${parameter(session.dialect, 1)}`,
    [operation],
  );
  let cut: string | null = null;
  const ranges: AppliedRange[] = [];
  for (const [item, checksum, detail] of rows as readonly [string, string, string][]) {
    if (item === '') cut = checksum;
    else ranges.push({ place: item, range: parseRange(detail) });
  }
  ranges.sort((a, b) => (a.place < b.place ? -1 : 1));
  return { cut, ranges };
}

/** What to say of an applied file whose content is another now. */
export function driftOf(path: string): string {
  return `${path} was applied with another content than it has now. Restore the file, and put the change in a new one.`;
}
