import {
  FailShard,
  keyWriteFault,
  operationId,
  parameter,
  printRange,
  rangePredicate,
  statementFault,
  withRange,
  type ExecutorContext,
  type SqlValue,
  type TargetDatabase,
  type TargetSession,
  type TargetTable,
} from '#hxo/execute';
import type { BatchInputs } from './inputs.js';
import { withLearnt, type Change, type Learnt, type RangeChange } from './learnt.js';
import { Ledger } from './ledger.js';

/**
 * Applies one batch in one transaction with its row in the ledger. A batch that has its row is left alone. Returns the rows
 * that it changed, now or then.
 */
export function applyBatch(
  batch: BatchInputs,
  database: TargetDatabase,
  context: ExecutorContext,
): Promise<number> {
  return withLearnt(database, (learnt) => apply(batch, database, learnt, context));
}

async function apply(
  batch: BatchInputs,
  database: TargetDatabase,
  learnt: Learnt,
  { signal }: ExecutorContext,
): Promise<number> {
  const change = await changeOf(batch, database, learnt);
  const { lock_timeout_ms, statement_timeout_ms } = batch.options;
  const table = await learnt.ledger(lock_timeout_ms);
  const limits = { access: 'write', lock_timeout_ms, statement_timeout_ms, signal } as const;
  return database.transaction(limits, async (session) => {
    const ledger = new Ledger(session, table);
    const key = { operation: batch.operation, item: batch.place };
    const detail = printRange(batch);
    if (!(await ledger.add(key, { checksum: batch.cut, detail, state: 'applied' }))) {
      const known = (await ledger.find(key))!;
      if (known.detail === detail) return known.rows_changed;
      throw overtaken();
    }
    await takeCut(batch, ledger);
    const { changes } = await session.query(change.sql, change.values);
    await ledger.finish(key, changes);
    return changes;
  });
}

/** Runs a batch and rolls it back: a dry run, or the preflight. Returns the rows that it would change. */
export function tryBatch(
  batch: BatchInputs,
  database: TargetDatabase,
  context: ExecutorContext,
): Promise<number> {
  return withLearnt(database, (learnt) => tryOut(batch, database, learnt, context));
}

async function tryOut(
  batch: BatchInputs,
  database: TargetDatabase,
  learnt: Learnt,
  { signal }: ExecutorContext,
): Promise<number> {
  const change = await changeOf(batch, database, learnt);
  const { lock_timeout_ms, statement_timeout_ms } = batch.options;
  const ledger = await database.ledger();
  const limits = { access: 'write', end: 'rollback', lock_timeout_ms, statement_timeout_ms, signal } as const;
  // Whole tables are read for the first batch, not for each: a dry run would take the square of its rows.
  const cheap_checks_only = !batch.preflight;
  return database.transaction({ ...limits, cheap_checks_only }, async (session) => {
    const applied = ledger.exists ? await knownRows(batch, session, ledger.table) : null;
    return applied ?? (await session.query(change.sql, change.values)).changes;
  });
}

/** What an applied batch came to; null for one that may still be applied. */
async function knownRows(batch: BatchInputs, session: TargetSession, table: string): Promise<number | null> {
  const ledger = new Ledger(session, table);
  const known = await ledger.find({ operation: batch.operation, item: batch.place });
  if (known?.detail === printRange(batch)) return known.rows_changed;
  const latest = await ledger.find({ operation: batch.operation, item: '' });
  const cut = latest?.checksum ?? null;
  if (known !== null || (cut !== batch.after && cut !== batch.cut)) throw overtaken();
  return null;
}

/**
 * Makes sure that nobody has cut the backfill since this plan did. The first batch of a cut moves the ledger on to it,
 * unless batches were applied that the cut did not know of; from then on those of earlier cuts are refused. The row that
 * tells the latest cut is held to the end of the transaction, so that it cannot move on under this batch.
 */
async function takeCut({ operation, cut, after, recorded }: BatchInputs, ledger: Ledger): Promise<void> {
  if (await ledger.holdCut(operation, cut)) return;
  const begun =
    after === null
      ? await ledger.add({ operation, item: '' }, { checksum: cut, detail: '', state: 'cut' })
      : await ledger.moveCut(operation, after, cut);
  // This batch's own row is there already.
  const known = begun
    ? (await ledger.count(operation)) === recorded + 1
    : await ledger.holdCut(operation, cut);
  if (!known) throw overtaken();
}

function overtaken(): FailShard {
  return new FailShard(
    'BACKFILL_OVERTAKEN',
    'Another plan has applied batches of this backfill since this one was cut. Let it end, then submit this plan again: what is applied is not applied twice.',
  );
}

/** What a batch does to its rows; batches of one backfill differ in their ranges alone, and are checked once. */
async function changeOf(batch: BatchInputs, database: TargetDatabase, learnt: Learnt): Promise<Change> {
  const { table, key, work, run, operation } = batch;
  const backfill = JSON.stringify([table, key, work, run, operation]);
  const change = await learnt.change(backfill, () => checkedChange(batch, database, learnt));
  return change(batch);
}

/** Checks the inputs against the database's own catalogue; nothing of them reaches SQL unquoted but the statement. */
async function checkedChange(
  batch: BatchInputs,
  { dialect }: TargetDatabase,
  learnt: Learnt,
): Promise<RangeChange> {
  const table = await learnt.table(batch.table);
  if (table === null)
    throw new FailShard('TABLE_GONE', `Table ${batch.table} is gone since the plan was cut.`);
  const { work, key, operation } = batch;
  // The ledger's name for this work: inputs that were tampered with would be applied under another's.
  const runs = operationId({ table: table.name, key, work, run: batch.run });
  if (runs !== operation)
    throw new FailShard('BAD_INPUTS', 'The operation is not that of table, key and work.');
  const columns = key.map((name) => `${table.alias}.${quotedColumn(table, name)}`);
  const moving = keyWriteFault(work, key, table, dialect);
  if (moving !== null) throw new FailShard('STATEMENT_REFUSED', moving);
  if ('statement' in work) {
    const fault = statementFault(work.statement, dialect);
    if (fault !== null) throw new FailShard('STATEMENT_REFUSED', `statement: ${fault}`);
    const statementFor = withRange(work.statement, dialect);
    return (range) => {
      const { sql, values } = rangePredicate(dialect, columns, range);
      return { sql: statementFor(sql), values };
    };
  }
  const entries = Object.entries(work.set);
  const assigned = entries.map(([name], i) => `${quotedColumn(table, name)} = ${parameter(dialect, i + 1)}`);
  const update = `UPDATE ${table.quoted} SET ${assigned.join(', ')} WHERE`;
  const assigned_values = entries.map(([, value]) => bound(value));
  return (range) => {
    const { sql, values } = rangePredicate(dialect, columns, range, entries.length + 1);
    return { sql: `${update} ${sql}`, values: [...assigned_values, ...values] };
  };
}

/** SQLite would store 1 as 1.0 in a column without a type. */
function bound(value: SqlValue): SqlValue {
  return typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value;
}

function quotedColumn(table: TargetTable, name: string): string {
  const column = table.columns.find((each) => each.name === name);
  if (column !== undefined) return column.quoted;
  throw new FailShard('COLUMN_GONE', `Table ${table.name} has no column ${name}.`);
}
