import type { Digest, Json } from '#truth';
import type { TargetDatabase } from '../execute/targets.js';
import { WorkspacePathError, type Workspace, type WorkspaceFile } from '../execute/workspace.js';
import { driftOf, readAppliedFiles, type AppliedFile } from '../sql/ledger-rows.js';
import type { PartitionSummary, ShardDraft } from './contract.js';
import { digestFile } from './file-inputs.js';

const folder_default = 'migrations';
const files_max = 10_000;
/** A migration file is read whole. */
const migration_bytes_max = 16_777_216;

/** Thrown when migrations cannot be partitioned. The message begins with a code. */
export class MigrationsRefused extends Error {
  override readonly name = 'MigrationsRefused';
}

/**
 * The `*.sql` files of a folder, in bytewise order of their names; folders below it are not looked into, and `.gitignore`
 * is not asked. The default folder may be missing; one that was named may not: throws WorkspacePathError.
 */
export async function listMigrations(
  migrations: string | null,
  workspace: Workspace,
): Promise<WorkspaceFile[]> {
  const listing = { root: migrations ?? folder_default, include: ['*.sql'], exclude: [], gitignore: false };
  try {
    const files = await workspace.list(listing);
    return files.filter(({ path }) => !path.includes('/'));
  } catch (error) {
    if (migrations === null && error instanceof WorkspacePathError) return [];
    throw error;
  }
}

/**
 * One shard a file, in a wave of its own:
 *
 *     {"target": "default", "root": "migrations", "file": ["0001_init.sql", 120]}          name, bytes
 *
 * before them, in wave 0, a preflight of those that the ledger does not know, in their order:
 *
 *     {"target": "default", "root": "migrations", "preflight": [["0001_init.sql", 120], …]}
 *
 * `input_digests` are the SHA-256 of each file. An applied file with another content is refused: throws
 * {@link MigrationsRefused}.
 */
export async function* partitionMigrations(
  order: {
    readonly migrations: string | null;
    readonly files: readonly WorkspaceFile[];
    readonly preflight: boolean;
  },
  database: TargetDatabase,
  workspace: Workspace,
): AsyncGenerator<ShardDraft, PartitionSummary> {
  const { files, preflight } = order;
  checkSizes(files);
  const root = order.migrations ?? folder_default;
  const digests: Digest[] = [];
  for (const file of files) digests.push(await digestFile(workspace, root, file));
  const applied = await readAppliedFiles(database);
  files.forEach(({ path }, i) => checkUnchanged(path, digests[i]!, applied.get(path)));
  const shared = { target: database.name, root };
  const pending = files.flatMap((file, i) => (applied.get(file.path)?.state === 'applied' ? [] : [i]));
  let wave = 0;
  if (preflight && pending.length > 0) {
    const rows: Json[] = pending.map((i) => [files[i]!.path, files[i]!.bytes]);
    yield {
      wave: wave++,
      weight: 1,
      inputs: { ...shared, preflight: rows },
      input_digests: pending.map((i) => digests[i]!),
    };
  }
  for (const [i, { path, bytes }] of files.entries()) {
    yield {
      wave: wave++,
      weight: Math.max(1, bytes),
      inputs: { ...shared, file: [path, bytes] },
      input_digests: [digests[i]!],
    };
  }
  return { matched: files.length, taken: files.length, truncated: 0 };
}

function checkSizes(files: readonly WorkspaceFile[]): void {
  if (files.length > files_max) {
    throw new MigrationsRefused(
      `TOO_MANY_MIGRATIONS: there are ${files.length} migration files, ${files_max} at most are taken. Merge old ones.`,
    );
  }
  const large = files.find(({ bytes }) => bytes > migration_bytes_max);
  if (large === undefined) return;
  throw new MigrationsRefused(
    `MIGRATION_TOO_LARGE: ${large.path} is larger than ${migration_bytes_max} bytes. Cut it into several files.`,
  );
}

/** A file that has only been started may be mended: it runs again from its beginning. */
function checkUnchanged(path: string, digest: Digest, row: AppliedFile | undefined): void {
  if (row?.state !== 'applied' || row.checksum === digest) return;
  throw new MigrationsRefused(`MIGRATION_DRIFT: ${driftOf(path)}`);
}
