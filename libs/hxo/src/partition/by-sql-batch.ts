import type { Json } from '#truth';
import { TargetError, type Targets } from '../execute/targets.js';
import { field, flag, folder, text, wholeNumber } from '../plan/config-fields.js';
import { ConfigError, parseFields, type ConfigFields, type RawConfig } from '../plan/stage-config.js';
import { range_mark } from '../sql/backfill.js';
import { listMigrations, partitionMigrations } from './by-sql-batch-files.js';
import { partitionTable } from './by-sql-batch-ranges.js';
import type { PartitionContext, Partitioner, PartitionSummary, ShardDraft } from './contract.js';

/** `config` of a stage, with its defaults filled in. */
export interface BySqlBatchConfig {
  readonly target: string;
  /** Null is the folder `migrations`, which need not exist. */
  readonly migrations: string | null;
  /** Null works on migration files. */
  readonly table: string | null;
  /** Null is the primary key. */
  readonly key: readonly string[] | null;
  readonly batch_size: number;
  /** Null is all. */
  readonly total_rows: number | null;
  readonly set: Readonly<Record<string, string | number | boolean | null>> | null;
  readonly statement: string | null;
  readonly run: string | null;
  readonly preflight: boolean;
}

const name_chars_max = 128;
const key_columns_max = 16;
const set_columns_max = 64;
const set_chars_max = 8_192;
const statement_chars_max = 8_192;

const fields: ConfigFields<BySqlBatchConfig> = {
  target: text('default', {
    most: 63,
    shape: {
      pattern: /^[a-z][a-z0-9_]*$/,
      words: 'a name of small letters, digits and "_", such as default',
    },
    meaning: 'database to work on: the one that `HXO_TARGET_<NAME>_URL` holds, the name in capitals',
  }),
  migrations: migrationsFolder(),
  table: text(null, {
    most: name_chars_max,
    meaning: 'table whose rows are cut into batches, by its exact name; `schema.table` in PostgreSQL',
    default_text: 'none: migration files',
  }),
  key: field<readonly string[] | null>(
    null,
    {
      meaning: 'column, or list of columns, of a unique index by whose order batches are cut',
      default_text: 'the primary key',
    },
    parseKey,
  ),
  batch_size: wholeNumber(5_000, { least: 1, most: 1_000_000, meaning: 'most rows of one batch' }),
  total_rows: wholeNumber(null, {
    least: 1,
    meaning: 'take at most so many rows, in key order; what is left out is counted as `truncated`',
    default_text: 'all rows',
  }),
  set: field<BySqlBatchConfig['set']>(
    null,
    {
      meaning:
        'columns and the values (text, number, true, false, null) that every row of a batch gets; bound, never SQL',
      default_text: 'none',
    },
    parseSet,
  ),
  statement: text(null, {
    most: statement_chars_max,
    meaning: `one UPDATE, INSERT, DELETE or WITH statement, with \`${range_mark}\` where the batch's condition belongs`,
    default_text: 'none',
  }),
  run: text(null, {
    most: 64,
    shape: { pattern: /^[A-Za-z0-9._:-]+$/, words: 'letters, digits, ".", "_", ":" and "-"' },
    meaning: 'a label that makes the same backfill another one, to be applied again',
    default_text: 'none',
  }),
  preflight: flag(true, {
    meaning: 'try the first batch, or all pending files, and roll back before anything is applied',
  }),
};

/**
 * Cuts work on a database (`target`) into shards, in one of two forms.
 *
 * Without `table`: the `*.sql` files of a folder in bytewise order of their names, each a wave of its own; see
 * by-sql-batch-files.ts. With `table`: keyset ranges over a unique key; see by-sql-batch-ranges.ts.
 *
 * Both read the target's ledger (`hxo_ledger`) and write nothing. Wave 0 is a preflight when something is not applied yet.
 */
export const bySqlBatch: Partitioner<BySqlBatchConfig> = {
  name: 'by_sql_batch',
  fields,
  cap: 'total_rows',
  follows_dependencies: true,
  parse,
  precheck,
  one_by_one,
  partition,
};

function parse(config: RawConfig): BySqlBatchConfig {
  const parsed = parseFields('by_sql_batch', fields, config);
  if (parsed.table === null) {
    for (const name of ['key', 'set', 'statement', 'run'] as const) {
      if (parsed[name] === null) continue;
      throw new ConfigError(
        name,
        `${name} belongs to batches of rows: name the table as well, or leave it out.`,
      );
    }
    return parsed;
  }
  if (parsed.migrations !== null) {
    const message =
      'migrations and table do not go together: make two stages of them, one depending on the other.';
    throw new ConfigError('migrations', message);
  }
  if (parsed.set !== null && parsed.statement !== null)
    throw new ConfigError('statement', 'statement and set do not go together: keep one of the two.');
  if (parsed.statement !== null && !parsed.statement.includes(range_mark)) {
    const message = `statement must have ${range_mark} where the batch's condition belongs, as in UPDATE … WHERE ${range_mark}.`;
    throw new ConfigError('statement', message);
  }
  return parsed;
}

/** Refuses a target that is not configured. Files that do not exist yet need none. */
async function precheck(config: BySqlBatchConfig, context: PartitionContext): Promise<void> {
  if (config.table === null && !(await hasMigrations(config, context))) return;
  try {
    targetsOf(context).dialectOf(config.target);
  } catch (error) {
    if (error instanceof TargetError) throw new ConfigError('target', error.message);
    throw error;
  }
}

/** SQLite has one writer at a time; a target that is not configured any more is for partitioning and shards to tell. */
function one_by_one({ target }: BySqlBatchConfig, context: PartitionContext): boolean {
  try {
    return targetsOf(context).dialectOf(target) === 'sqlite';
  } catch (error) {
    if (error instanceof TargetError) return false;
    throw error;
  }
}

/** A folder that cannot be listed may be made by the stages before; when it is needed, partitioning says what is wrong. */
async function hasMigrations(
  { migrations }: BySqlBatchConfig,
  { workspace }: PartitionContext,
): Promise<boolean> {
  const files = await listMigrations(migrations, workspace).catch(() => []);
  return files.length > 0;
}

async function* partition(
  config: BySqlBatchConfig,
  context: PartitionContext,
): AsyncGenerator<ShardDraft, PartitionSummary> {
  const { target, migrations, table, preflight } = config;
  if (table !== null) return yield* partitionTable({ ...config, table }, targetsOf(context).open(target));
  const files = await listMigrations(migrations, context.workspace);
  if (files.length === 0) return { matched: 0, taken: 0, truncated: 0 };
  const database = targetsOf(context).open(target);
  return yield* partitionMigrations({ migrations, files, preflight }, database, context.workspace);
}

function targetsOf({ targets }: PartitionContext): Targets {
  if (targets === undefined)
    throw new Error('Partitioning by_sql_batch needs targets, and there are none here.');
  return targets;
}

function migrationsFolder(): ConfigFields<BySqlBatchConfig>['migrations'] {
  const meaning = 'folder of migration files, relative to the workspace, without `..`';
  const named = folder('migrations', { meaning });
  return {
    meaning,
    default: named.default,
    parse: (value, name) => (value === undefined ? null : named.parse(value, name)),
  };
}

function parseKey(value: Json, name: string): readonly string[] {
  const columns = (Array.isArray(value) ? value : [value]) as readonly Json[];
  const isName = (column: Json): column is string =>
    typeof column === 'string' && column !== '' && column.length <= name_chars_max;
  const fits = columns.length >= 1 && columns.length <= key_columns_max && columns.every(isName);
  if (fits && new Set(columns).size === columns.length) return columns;
  throw new ConfigError(
    name,
    `${name} must be a column, or a list of at most ${key_columns_max} different columns.`,
  );
}

function parseSet(value: Json, name: string): NonNullable<BySqlBatchConfig['set']> {
  const isRecord = typeof value === 'object' && value !== null && !Array.isArray(value);
  const entries = isRecord ? Object.entries(value) : [];
  const fits = entries.length >= 1 && entries.length <= set_columns_max;
  if (!fits || JSON.stringify(value).length > set_chars_max) {
    throw new ConfigError(
      name,
      `${name} must be an object of 1 to ${set_columns_max} columns and their values, ${set_chars_max} characters at most.`,
    );
  }
  const odd = entries.find(([, item]) => typeof item === 'object' && item !== null);
  if (odd !== undefined) {
    const message = `${name}: the value of ${odd[0]} must be a text, a number, true, false or null. Expressions go in statement.`;
    throw new ConfigError(name, message);
  }
  return value as NonNullable<BySqlBatchConfig['set']>;
}
