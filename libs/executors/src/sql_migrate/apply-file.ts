import {
  FailShard,
  RetryShard,
  TargetError,
  driftOf,
  files_operation,
  no_transaction_marker,
  refusalOf,
  runsOutsideTransaction,
  splitStatements,
  type Digest,
  type ExecutorContext,
  type Shard,
  type TargetDatabase,
} from '#hxo/execute';
import { readWholeFile } from '../read-file.js';
import type { FileInputs, MigrationFile } from './inputs.js';
import { ensureLedger, Ledger, type LedgerRow } from './ledger.js';

/** What applying a file came to. */
export interface AppliedFile {
  readonly rows: number;
  /** False for a file whose statements run outside a transaction: they may have run more than once. */
  readonly once: boolean;
}

/** A migration file's text, and how it has to run. */
interface Migration {
  readonly name: string;
  readonly digest: Digest;
  readonly sql: string;
  readonly outside: boolean;
}

/** Applies one file, in one transaction with its row in the ledger unless it asks for the lane without. */
export async function applyFile(
  { inputs, input_digests }: Shard<FileInputs>,
  database: TargetDatabase,
  context: ExecutorContext,
): Promise<AppliedFile> {
  const migration = await readMigration(inputs, inputs.files[0]!, input_digests[0]!, database, context);
  const { lock_timeout_ms } = inputs.options;
  const table = await ensureLedger(database, lock_timeout_ms);
  try {
    return migration.outside
      ? await applyOutside(migration, table, database, inputs, context)
      : await applyInside(migration, table, database, inputs, context);
  } finally {
    // What a file sets in its session must not reach the next one.
    await database.close();
  }
}

/**
 * Runs files in their order, in one transaction, and rolls all back. It ends at the first file that runs outside a
 * transaction: what comes behind may build on it; of those the texts are checked alone. Returns the files that ran.
 */
export async function tryFiles(
  { inputs, input_digests }: Shard<FileInputs>,
  database: TargetDatabase,
  context: ExecutorContext,
): Promise<number> {
  const { lock_timeout_ms, statement_timeout_ms } = inputs.options;
  const ledger = await database.ledger();
  const limits = { access: 'write', end: 'rollback', lock_timeout_ms, statement_timeout_ms } as const;
  try {
    return await database.transaction({ ...limits, signal: context.signal }, async (session) => {
      let ran = 0;
      let runs = true;
      for (const [i, file] of inputs.files.entries()) {
        const migration = await readMigration(inputs, file, input_digests[i]!, database, context);
        runs &&= !migration.outside;
        const known = ledger.exists ? await new Ledger(session, ledger.table).find(keyOf(migration)) : null;
        if (known !== null) refuseDrift(known, migration);
        if (!runs || known?.state === 'applied') continue;
        await named(migration, session.script(migration.sql));
        if (database.dialect === 'postgres') await session.script(freshSession(inputs));
        ran++;
      }
      return ran;
    });
  } finally {
    await database.close();
  }
}

/** Undoes what a file has set, within its transaction: when files are applied, each has a session of its own. */
function freshSession({ options: { lock_timeout_ms, statement_timeout_ms } }: FileInputs): string {
  return `RESET ALL; RESET ROLE; SET LOCAL lock_timeout = ${lock_timeout_ms};
    SET LOCAL statement_timeout = ${statement_timeout_ms}; SET LOCAL standard_conforming_strings = on`;
}

/** Checks a file's text, and that it is not applied with another content. */
export async function checkFile(
  { inputs, input_digests }: Shard<FileInputs>,
  database: TargetDatabase,
  context: ExecutorContext,
): Promise<void> {
  const migration = await readMigration(inputs, inputs.files[0]!, input_digests[0]!, database, context);
  const { table, exists } = await database.ledger();
  const known = exists ? await new Ledger(database, table).find(keyOf(migration)) : null;
  if (known !== null) refuseDrift(known, migration);
}

async function applyInside(
  migration: Migration,
  table: string,
  database: TargetDatabase,
  { options }: FileInputs,
  { signal }: ExecutorContext,
): Promise<AppliedFile> {
  const { lock_timeout_ms, statement_timeout_ms } = options;
  const limits = { access: 'write', lock_timeout_ms, statement_timeout_ms, signal } as const;
  return database.transaction(limits, async (session) => {
    const ledger = new Ledger(session, table);
    const key = keyOf(migration);
    const row = { checksum: migration.digest, detail: '', state: 'applied' };
    if (!(await ledger.add(key, row)) && !(await ledger.beginAgain(key, row))) {
      const known = (await ledger.find(key))!;
      refuseDrift(known, migration);
      return { rows: known.rows_changed, once: true };
    }
    const rows = await named(migration, session.script(migration.sql));
    await ledger.finish(key, rows);
    return { rows, once: true };
  });
}

/**
 * The lane for statements that cannot run in a transaction. Its row says `started` before the first of them and `applied`
 * after the last: a file that was interrupted, or failed and was mended, runs again from its beginning.
 */
async function applyOutside(
  migration: Migration,
  table: string,
  database: TargetDatabase,
  { options }: FileInputs,
  { signal }: ExecutorContext,
): Promise<AppliedFile> {
  const { dialect } = database;
  if (dialect === 'postgres') await guardLane(database, options);
  const ledger = new Ledger(database, table);
  const key = keyOf(migration);
  const row = { checksum: migration.digest, detail: 'no-transaction', state: 'started' };
  if (!(await ledger.add(key, row)) && !(await ledger.beginAgain(key, row))) {
    const known = (await ledger.find(key))!;
    refuseDrift(known, migration);
    return { rows: known.rows_changed, once: false };
  }
  let rows = 0;
  for (const { text } of splitStatements(migration.sql, dialect)) {
    signal.throwIfAborted();
    rows += await named(migration, database.script(text));
  }
  await ledger.finish(key, rows);
  return { rows, once: false };
}

/** One such file at a time in a database; the session's end, which follows the file, lets the lock go. */
const lane_lock = 0x48584f32;

async function guardLane(
  database: TargetDatabase,
  { lock_timeout_ms, statement_timeout_ms }: FileInputs['options'],
): Promise<void> {
  const { rows } = await database.query(`SELECT pg_try_advisory_lock(${lane_lock})::text`);
  if (rows[0]![0] !== 'true') {
    throw new RetryShard(
      'TARGET_LOCKED',
      `target ${database.name}: another file of the lane without transaction is under way.`,
    );
  }
  await database.script(
    `SET lock_timeout = ${lock_timeout_ms}; SET statement_timeout = ${statement_timeout_ms}`,
  );
}

async function readMigration(
  { root }: FileInputs,
  { name, bytes }: MigrationFile,
  digest: Digest,
  { dialect }: TargetDatabase,
  context: ExecutorContext,
): Promise<Migration> {
  const content = await readWholeFile(context, root, { path: name, bytes }, digest);
  let sql: string;
  try {
    sql = new TextDecoder('utf-8', { fatal: true }).decode(content);
  } catch {
    throw new FailShard('MIGRATION_REFUSED', `${name} is not UTF-8. Save it as UTF-8.`);
  }
  const outside = runsOutsideTransaction(sql);
  const refusal = refusalOf(sql, dialect, { in_transaction: !outside });
  if (refusal !== null) throw new FailShard('MIGRATION_REFUSED', `${name}: ${refusal}`);
  return { name, digest, sql, outside };
}

function keyOf({ name }: Migration): { readonly operation: string; readonly item: string } {
  return { operation: files_operation, item: name };
}

/** A file that has not come to its end may be mended. */
function refuseDrift({ checksum, state }: LedgerRow, { name, digest }: Migration): void {
  if (state === 'applied' && checksum !== digest) throw new FailShard('MIGRATION_DRIFT', driftOf(name));
}

/** Says which file met an error, and the way out where there is one. */
async function named<T>({ name }: Migration, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof TargetError)) throw error;
    const way_out =
      error.code === 'NEEDS_NO_TRANSACTION'
        ? ` Put such statements in a file of their own whose first line is "${no_transaction_marker}".`
        : '';
    throw new TargetError(error.code, `${name}: ${error.message}.${way_out}`);
  }
}
