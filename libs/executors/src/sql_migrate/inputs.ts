import {
  FailShard,
  type BackfillWork,
  type ConfigFields,
  type Json,
  type KeyJson,
  wholeNumber,
  flag,
} from '#hxo/execute';

/** The stage's config fields of this executor. */
export interface SqlOptions extends Readonly<Record<string, Json>> {
  readonly dry_run: boolean;
  readonly lock_timeout_ms: number;
  readonly statement_timeout_ms: number;
  readonly pause_ms: number;
}

const hour_ms = 3_600_000;

export const sql_options: ConfigFields<SqlOptions> = {
  dry_run: flag(false, { meaning: 'run every batch and file and roll it back; the target stays as it is' }),
  lock_timeout_ms: wholeNumber(5_000, {
    least: 1,
    most: hour_ms,
    meaning: 'longest wait for a lock; the shard is tried again then',
  }),
  statement_timeout_ms: wholeNumber(60_000, {
    least: 1,
    most: 24 * hour_ms,
    meaning:
      'longest run of one statement in PostgreSQL; a statement of SQLite ends with `shard_timeout_ms`, which holds for both',
  }),
  pause_ms: wholeNumber(0, {
    least: 0,
    most: 60_000,
    meaning: 'rest after each batch, for the sake of others; counts towards `shard_timeout_ms`',
  }),
};

/** A migration file as it was when the plan was partitioned. */
export interface MigrationFile {
  readonly name: string;
  readonly bytes: number;
}

/** One batch of a backfill. */
export interface BatchInputs {
  readonly type: 'batch';
  readonly target: string;
  readonly options: SqlOptions;
  readonly preflight: boolean;
  readonly table: string;
  readonly key: readonly string[];
  readonly work: BackfillWork;
  readonly run: string | null;
  readonly operation: string;
  readonly place: string;
  readonly from: KeyJson | null;
  readonly to: KeyJson;
  readonly cut: string;
  readonly after: string | null;
  readonly recorded: number;
}

/** Migration files: one to apply, or all that are pending for the preflight. */
export interface FileInputs {
  readonly type: 'file' | 'preflight';
  readonly target: string;
  readonly options: SqlOptions;
  readonly root: string;
  readonly files: readonly MigrationFile[];
}

/** Reads the inputs that by_sql_batch makes. Throws {@link FailShard} on any other shape. */
export function parseInputs(json: Json): BatchInputs | FileInputs {
  const inputs = recordOf(json);
  const { options } = inputs;
  const shared = { target: textOf(inputs.target), options: recordOf(options) as SqlOptions };
  if (inputs.table !== undefined) return { ...shared, ...parseBatch(inputs) };
  const root = textOf(inputs.root);
  if (inputs.preflight !== undefined)
    return { ...shared, type: 'preflight', root, files: listOf(inputs.preflight).map(fileOf) };
  return { ...shared, type: 'file', root, files: [fileOf(inputs.file)] };
}

function parseBatch(inputs: Readonly<Record<string, Json>>): Omit<BatchInputs, 'target' | 'options'> {
  const { set, statement, run = null, from, after, recorded, preflight = false } = inputs;
  if (!Number.isSafeInteger(recorded) || typeof preflight !== 'boolean') throw badInputs();
  const work = statement === undefined ? { set: recordOf(set) } : { statement: textOf(statement) };
  return {
    type: 'batch',
    preflight,
    table: textOf(inputs.table),
    key: listOf(inputs.key).map(textOf),
    work: work as BackfillWork,
    run: run === null ? null : textOf(run),
    operation: textOf(inputs.operation),
    place: textOf(inputs.place),
    from: from === null ? null : listOf(from),
    to: listOf(inputs.to),
    cut: textOf(inputs.cut),
    after: after === null ? null : textOf(after),
    recorded: recorded as number,
  };
}

function fileOf(row: Json | undefined): MigrationFile {
  const [name, bytes] = listOf(row);
  if (!Number.isSafeInteger(bytes) || (bytes as number) < 0) throw badInputs();
  return { name: textOf(name), bytes: bytes as number };
}

function recordOf(value: Json | undefined): Readonly<Record<string, Json>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw badInputs();
  return value as Readonly<Record<string, Json>>;
}

function listOf(value: Json | undefined): readonly Json[] {
  if (!Array.isArray(value)) throw badInputs();
  return value as readonly Json[];
}

function textOf(value: Json | undefined): string {
  if (typeof value !== 'string' || value === '') throw badInputs();
  return value;
}

export function badInputs(): FailShard {
  return new FailShard(
    'BAD_INPUTS',
    'sql_migrate takes what by_sql_batch makes: {target, root, file}, {target, root, preflight} or {target, table, key, …}.',
  );
}
