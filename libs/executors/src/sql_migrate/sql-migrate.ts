import { setTimeout as sleep } from 'node:timers/promises';
import {
  ConfigError,
  FailShard,
  type Executor,
  type ExecutorContext,
  type Json,
  type RawConfig,
  type Shard,
  type ShardOutput,
} from '#hxo/execute';
import { applyBatch, tryBatch } from './apply-batch.js';
import { applyFile, checkFile, tryFiles } from './apply-file.js';
import { collect } from './collect.js';
import { parseInputs, sql_options, type BatchInputs, type FileInputs } from './inputs.js';

/**
 * Applies migration files and batches of backfills to a target database: each in one transaction with a row of the ledger
 * in the same database, so that it is applied once, whatever is killed when. A shard that finds its row changes nothing and
 * comes to the same output.
 *
 * A process, because a statement of SQLite is native code. Not deterministic: what it comes to depends on the database.
 */
export const sqlMigrate: Executor<BatchInputs | FileInputs> = {
  name: 'sql_migrate',
  version: '1',
  kinds: ['deploy.migrate'],
  cacheable: false,
  deterministic: false,
  load: 'cpu',
  isolation: 'process',
  options: sql_options,
  checkOptions,
  parse: parseInputs,
  run,
  collect,
};

function checkOptions({ dry_run }: Readonly<Record<string, Json>>, config: RawConfig): void {
  const { table, set, statement, preflight } = config;
  if (table !== undefined && set === undefined && statement === undefined)
    throw new ConfigError('table', 'table needs set or statement, which say what becomes of its rows.');
  if (table === undefined && preflight === false && dry_run === true) {
    const message = 'preflight is what runs the files of a dry run, one after the other: leave it at true.';
    throw new ConfigError('preflight', message);
  }
}

async function run(shard: Shard<BatchInputs | FileInputs>, context: ExecutorContext): Promise<ShardOutput> {
  const { inputs } = shard;
  if (context.targets === undefined) throw new FailShard('TARGET_UNKNOWN', 'There are no targets here.');
  const database = context.targets.open(inputs.target);
  if (inputs.type === 'batch') return { value: await runBatch(inputs, database, context) };
  return { value: await runFiles({ ...shard, inputs }, database, context) };
}

type Database = ReturnType<NonNullable<ExecutorContext['targets']>['open']>;

async function runBatch(batch: BatchInputs, database: Database, context: ExecutorContext): Promise<Json> {
  const { dry_run, pause_ms } = batch.options;
  const tries = batch.preflight || dry_run;
  const rows = await (tries ? tryBatch : applyBatch)(batch, database, context);
  if (pause_ms > 0) await sleep(pause_ms, undefined, { signal: context.signal });
  if (batch.preflight) return { preflight: true, rows };
  return dry_run ? { rows, dry_run } : { rows };
}

async function runFiles(
  shard: Shard<FileInputs>,
  database: Database,
  context: ExecutorContext,
): Promise<Json> {
  const { type, options } = shard.inputs;
  if (type === 'preflight') return { preflight: true, files: await tryFiles(shard, database, context) };
  if (options.dry_run) {
    // Files build on each other: the preflight has run them, together.
    await checkFile(shard, database, context);
    return { rows: 0, dry_run: true };
  }
  const { rows, once } = await applyFile(shard, database, context);
  return once ? { rows } : { rows, delivery: 'at-least-once' };
}
