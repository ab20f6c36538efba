import { sha256Stream, type Digest, type Json } from '#truth';
import type { Workspace, WorkspaceFile } from '../execute/workspace.js';
import { cutIntoBins, type Bin } from './by-filesize-bins.js';
import { ConfigError, type Partitioner, type PartitionSummary, type ShardDraft } from './contract.js';
import { globFault } from './glob-fault.js';

/** 1 MB is a million bytes, as on the label of a disk. */
export const bytes_per_mb = 1_000_000;

/** More files in one shard would make its inputs and its manifest line unwieldy. */
export const bin_files_max = 4096;

const chunk_size_mb_default = 10;
const chunk_size_mb_max = 1_000_000;
const globs_max = 1000;

/** `config` of a stage, with its defaults filled in. */
export interface ByFilesizeConfig {
  /** Folder to list, relative to the workspace. Default `.`. */
  readonly root: string;
  /** Globs relative to `root`; a file, or a folder above it, must match one. Default: every file. */
  readonly include: readonly string[];
  /** Globs relative to `root`; neither a file nor a folder above it may match one. */
  readonly exclude: readonly string[];
  /** Honour .gitignore files. Default true. */
  readonly gitignore: boolean;
  /** Take at most so many files, in bytewise path order; null is all. */
  readonly total_files: number | null;
  /** Most bytes that one shard reads: `chunk_size_mb` (default 10, fractions allowed) times a million. */
  readonly chunk_bytes: number;
}

const fields = ['root', 'include', 'exclude', 'gitignore', 'total_files', 'chunk_size_mb'];

/**
 * Cuts the workspace's files into shards of at most `chunk_size_mb`. A shard's inputs are either
 *
 *     {"root": ".", "files": [["src/a.ts", 120, 0], ["src/run.sh", 40, 1]]}      whole files: path, bytes, mode
 *     {"root": ".", "part": ["big.bin", 25000000, 0, 10000000, 10000000]}        path, bytes, mode, offset, length
 *
 * where mode is 1 for executable files and 0 for others. `input_digests` are the SHA-256 of each file in order, or of
 * the range. A file that changes or goes while it is hashed fails the partitioning with the workspace's own error,
 * because shards that were yielded before it cannot be taken back.
 */
export const byFilesize: Partitioner<ByFilesizeConfig> = {
  name: 'by_filesize',
  parse,
  partition,
};

async function* partition(
  config: ByFilesizeConfig,
  { workspace }: { readonly workspace: Workspace },
): AsyncGenerator<ShardDraft, PartitionSummary> {
  const listed = await workspace.list(config);
  const files = config.total_files === null ? listed : listed.slice(0, config.total_files);
  for (const bin of cutIntoBins(files, { bytes: config.chunk_bytes, files: bin_files_max })) {
    yield await draft(workspace, config.root, files, bin);
  }
  return { matched: listed.length, taken: files.length, truncated: listed.length - files.length };
}

async function draft(
  workspace: Workspace,
  root: string,
  files: readonly WorkspaceFile[],
  bin: Bin,
): Promise<ShardDraft> {
  if ('file' in bin) {
    const file = files[bin.file]!;
    const { offset, length } = bin;
    return {
      wave: 0,
      weight: length,
      inputs: { root, part: [file.path, file.bytes, modeOf(file), offset, length] },
      input_digests: [await digestRange(workspace, root, file, offset, length)],
    };
  }
  const rows: Json[] = [];
  const digests: Digest[] = [];
  let bytes = 0;
  for (const file of files.slice(bin.from, bin.to)) {
    rows.push([file.path, file.bytes, modeOf(file)]);
    digests.push(await digestRange(workspace, root, file, 0, file.bytes));
    bytes += file.bytes;
  }
  return { wave: 0, weight: Math.max(1, bytes), inputs: { root, files: rows }, input_digests: digests };
}

function modeOf(file: WorkspaceFile): 0 | 1 {
  return file.executable ? 1 : 0;
}

async function digestRange(
  workspace: Workspace,
  root: string,
  file: WorkspaceFile,
  offset: number,
  length: number,
): Promise<Digest> {
  const hash = sha256Stream();
  const range = { root, path: file.path, expected_bytes: file.bytes, offset, length };
  for await (const chunk of workspace.read(range)) hash.update(chunk);
  return hash.digest();
}

function parse(config: Readonly<Record<string, Json>>): ByFilesizeConfig {
  const unknown = Object.keys(config).find((field) => !fields.includes(field));
  if (unknown !== undefined) {
    throw new ConfigError(unknown, `by_filesize has no "${unknown}". It takes ${fields.join(', ')}.`);
  }
  const { root = '.', include = [], exclude = [], gitignore = true } = config;
  const { total_files, chunk_size_mb = chunk_size_mb_default } = config;
  return {
    root: parseRoot(root),
    include: parseGlobs('include', include),
    exclude: parseGlobs('exclude', exclude),
    gitignore: parseBoolean('gitignore', gitignore),
    total_files: total_files === undefined ? null : parseTotalFiles(total_files),
    chunk_bytes: parseChunkBytes(chunk_size_mb),
  };
}

function parseRoot(root: Json): string {
  const outside = typeof root !== 'string' || root.startsWith('/') || root.split('/').includes('..');
  if (outside || root.includes('\0')) {
    throw new ConfigError('root', 'root must be a folder relative to the workspace, without "..".');
  }
  // Spellings of one folder must give one content id.
  return root.split('/').filter((name) => name !== '' && name !== '.').join('/') || '.'; // prettier-ignore
}

function parseGlobs(field: string, globs: Json): readonly string[] {
  const isGlob = (glob: Json): glob is string =>
    typeof glob === 'string' && glob !== '' && glob.length <= 4096;
  if (!Array.isArray(globs) || globs.length > globs_max || !globs.every(isGlob)) {
    throw new ConfigError(
      field,
      `${field} must be a list of at most ${globs_max} globs, such as ["src/**/*.ts"].`,
    );
  }
  for (const glob of globs) {
    const fault = globFault(glob);
    if (fault !== null) throw new ConfigError(field, `${field}: the glob ${JSON.stringify(glob)} ${fault}`);
  }
  return globs;
}

function parseBoolean(field: string, value: Json): boolean {
  if (typeof value !== 'boolean') throw new ConfigError(field, `${field} must be true or false.`);
  return value;
}

function parseTotalFiles(value: Json): number {
  if (!Number.isSafeInteger(value) || (value as number) < 1) {
    throw new ConfigError(
      'total_files',
      'total_files must be a whole number of at least 1. Leave it out for all files.',
    );
  }
  return value as number;
}

function parseChunkBytes(value: Json): number {
  const bytes = typeof value === 'number' ? Math.round(value * bytes_per_mb) : 0;
  if (!(bytes >= 1 && bytes <= chunk_size_mb_max * bytes_per_mb)) {
    throw new ConfigError(
      'chunk_size_mb',
      `chunk_size_mb must be a number of megabytes (1 MB is 1,000,000 bytes) above 0, at least one byte, at most ${chunk_size_mb_max}.`,
    );
  }
  return bytes;
}
