import { canonicalJson, sha256, type Digest, type Json } from '#truth';
import type { TargetDatabase, TargetSession, TargetTable } from '../execute/targets.js';
import { operationId, statementFault, type BackfillWork } from '../sql/backfill.js';
import { printRange } from '../sql/key-range.js';
import { keyWriteFault } from '../sql/key-writes.js';
import { readBackfill, type AppliedRange, type BackfillRecord } from '../sql/ledger-rows.js';
import { Cutter, isEmpty, TableRefused, type Batch } from './by-sql-batch-cutter.js';
import { placesBetween } from './by-sql-batch-places.js';
import type { PartitionSummary, ShardDraft } from './contract.js';

/** What is asked for; the partitioner's config with a table in it. */
export interface TableOrder {
  readonly table: string;
  readonly key: readonly string[] | null;
  readonly batch_size: number;
  readonly total_rows: number | null;
  readonly set: Extract<BackfillWork, { set: unknown }>['set'] | null;
  readonly statement: string | null;
  readonly run: string | null;
  readonly preflight: boolean;
}

/**
 * Keyset ranges of a table: rows whose key is above `from` (null: from the beginning) and up to `to`, both by row values.
 * The last `to` is the largest key when the table was cut: rows that come later with larger keys are left alone.
 *
 *     {"target": "default", "table": "public.customer", "key": ["id"], "set": {"plan": "free"}, "run": null, "operation": "…",
 *      "place": "0000000002", "from": [5000], "to": [10000], "cut": "…", "after": null, "recorded": 0}
 *
 * Batches that the ledger has for the same backfill come as they were applied, and only the gaps between and behind them
 * are cut: however the table has grown, no row is changed twice. `cut` is the SHA-256 of the batches cut now, `after` the
 * ledger's latest cut and `recorded` its batches when they were: see the ledger in sql/ledger-rows.ts. Wave 0 is a
 * preflight of the first new batch, with `"preflight": true`; without one all is wave 0.
 *
 * All is read in one snapshot, in one ordered pass over the key. Throws {@link TableRefused} for a table or key that does
 * not exist, a key that is not unique, or NULL in it, for a text in it that cannot be read as it is, and for
 * work that writes the key.
 */
export async function* partitionTable(
  order: TableOrder,
  database: TargetDatabase,
): AsyncGenerator<ShardDraft, PartitionSummary> {
  const table = await database.describe(order.table);
  if (table === null) throw new TableRefused(`table: target ${database.name} has no table ${order.table}.`);
  const key = keyOf(table, order.key);
  const work = workOf(order, table, database);
  const fault = keyWriteFault(work, key, table, database.dialect);
  if (fault !== null) throw new TableRefused(`${order.statement === null ? 'set' : 'statement'}: ${fault}`);
  const operation = operationId({ table: table.name, key, work, run: order.run });
  const ledger = await database.ledger();
  const { record, batches, summary } = await database.transaction({ access: 'read' }, async (session) => {
    const past = await readBackfill(session, ledger, operation);
    return { record: past, ...(await cutTable(session, table, key, order, past)) };
  });
  const fresh = batches.filter(({ applied }) => !applied);
  const { run } = order;
  const shared = { target: database.name, table: table.name, key: [...key], ...work, run, operation };
  const cut = { cut: cutId(operation, record, fresh), after: record.cut, recorded: record.ranges.length };
  const draft = (batch: Batch, wave: number, more: Record<string, Json>): ShardDraft => ({
    wave,
    weight: Math.max(1, batch.rows),
    inputs: { ...shared, ...cut, place: batch.place, ...batch.range, ...more },
    input_digests: [],
  });
  const tried = order.preflight ? fresh[0] : undefined;
  if (tried !== undefined) yield draft(tried, 0, { preflight: true });
  for (const batch of batches) yield draft(batch, tried === undefined ? 0 : 1, {});
  return summary;
}

/** The columns to cut by: together the key of a unique index, in its order, so that no batch outgrows its size. */
function keyOf(table: TargetTable, asked: readonly string[] | null): readonly string[] {
  const keys = table.unique_keys.map((columns) => `[${columns.join(', ')}]`).join(', ') || 'none';
  if (asked === null) {
    if (table.primary_key.length > 0) return table.primary_key;
    throw new TableRefused(
      `key: table ${table.name} has no primary key to cut by. Name a unique key; there is ${keys}.`,
    );
  }
  const unknown = asked.find((column) => !table.columns.some(({ name }) => name === column));
  if (unknown !== undefined) {
    const columns = table.columns.map(({ name }) => name).join(', ');
    throw new TableRefused(`key: table ${table.name} has no column ${unknown}. It has ${columns}.`);
  }
  if (table.unique_keys.some((columns) => columns.join('\0') === asked.join('\0'))) return asked;
  throw new TableRefused(
    `key: [${asked.join(', ')}] is not unique in table ${table.name}: no unique index has these columns in this order. Unique keys: ${keys}.`,
  );
}

function workOf(
  { set, statement }: TableOrder,
  table: TargetTable,
  { dialect }: TargetDatabase,
): BackfillWork {
  if (statement !== null) {
    const fault = statementFault(statement, dialect);
    if (fault !== null) throw new TableRefused(`statement: ${fault}`);
    return { statement };
  }
  const columns = Object.keys(set ?? {});
  const unknown = columns.find((column) => !table.columns.some(({ name }) => name === column));
  if (unknown === undefined) return { set: set ?? {} };
  throw new TableRefused(`set: table ${table.name} has no column ${unknown}.`);
}

/** Names the batches that were cut together, and what they were cut around. */
function cutId(operation: string, record: BackfillRecord, fresh: readonly Batch[]): Digest {
  const lines = fresh.map(({ place, range }) => `${place} ${printRange(range)}\n`).join('');
  const around = { operation, after: record.cut, recorded: record.ranges.length };
  return sha256(`${canonicalJson(around)}\n${lines}`);
}

async function cutTable(
  session: TargetSession,
  table: TargetTable,
  key: readonly string[],
  order: TableOrder,
  record: BackfillRecord,
): Promise<{ readonly batches: readonly Batch[]; readonly summary: PartitionSummary }> {
  const cutter = new Cutter(session, table, key, order.batch_size);
  await cutter.refuseNulls();
  // A whole table that is cut for the first time is counted by cutting it.
  const counted = order.total_rows === null && record.ranges.length === 0 ? null : await cutter.count();
  const beyond = Math.max(0, (counted ?? 0) - (order.total_rows ?? Infinity));
  const upper = beyond > 0 ? await cutter.keyOfRow(order.total_rows!) : await cutter.largest();
  // Recorded batches stay, however few rows are asked for.
  const left_out = beyond > 0 ? beyond - (await cutter.countAbove(upper!, record.ranges)) : 0;
  const batches: Batch[] = [];
  let before: AppliedRange | null = null;
  for (const applied of record.ranges) {
    const gap = { from: before?.range.to ?? null, to: applied.range.from };
    if (!isEmpty(gap) && upper !== null)
      await cutter.cut(gap, upper, placesBetween(before?.place ?? null, applied.place), batches);
    batches.push({ ...applied, rows: order.batch_size, applied: true });
    before = applied;
  }
  const rest = { from: before?.range.to ?? null, to: null };
  if (upper !== null) await cutter.cut(rest, upper, placesBetween(before?.place ?? null, null), batches);
  const matched = counted ?? batches.reduce((sum, { rows }) => sum + rows, 0);
  return { batches, summary: { matched, taken: matched - left_out, truncated: left_out } };
}
