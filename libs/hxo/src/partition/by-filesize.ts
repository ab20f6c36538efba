import type { Digest, Json } from '#truth';
import type { Workspace, WorkspaceFile } from '../execute/workspace.js';
import { cutIntoBins, type Bin } from './by-filesize-bins.js';
import { field, flag, folder, globs, wholeNumber } from '../plan/config-fields.js';
import { ConfigError, parseFields, type ConfigFields } from '../plan/stage-config.js';
import type { Partitioner, PartitionSummary, ShardDraft } from './contract.js';
import { digestFile, digestRange, fileRow, modeOf } from './file-inputs.js';

/** 1 MB is a million bytes, as on the label of a disk. */
export const bytes_per_mb = 1_000_000;

/** More files in one shard would make its inputs and its manifest line unwieldy. */
export const bin_files_max = 4096;

const chunk_mb_max = 1_000_000;

/** `config` of a stage, with its defaults filled in. */
export interface ByFilesizeConfig {
  readonly root: string;
  readonly include: readonly string[];
  readonly exclude: readonly string[];
  readonly gitignore: boolean;
  /** Null is all. */
  readonly total_files: number | null;
  readonly chunk_size_mb: number;
}

/** Which files a stage works on: the fields that every partitioner over files has. */
export const file_fields = {
  root: folder('.', { meaning: 'folder to list, relative to the workspace, without `..`' }),
  include: globs({
    meaning: 'globs relative to `root`; a file, or a folder above it, must match one; 1,000 at most',
    default_text: 'all',
  }),
  exclude: globs({
    meaning: 'globs relative to `root`; neither a file nor a folder above it may match one; 1,000 at most',
    default_text: 'none',
  }),
  gitignore: flag(true, { meaning: "honour `.gitignore` files with git's nested rules" }),
};

/** Most megabytes that a shard reads. */
export const chunk_size_mb = field(
  10,
  {
    meaning: `most megabytes (1 MB is 1,000,000 bytes) that one shard reads; fractions allowed, ${chunk_mb_max.toLocaleString('en')} at most`,
  },
  (value, name) => {
    const bytes = typeof value === 'number' ? Math.round(value * bytes_per_mb) : 0;
    if (bytes >= 1 && bytes <= chunk_mb_max * bytes_per_mb) return value as number;
    throw new ConfigError(
      name,
      `${name} must be a number of megabytes (1 MB is 1,000,000 bytes) above 0, at least one byte, at most ${chunk_mb_max}.`,
    );
  },
);

const fields: ConfigFields<ByFilesizeConfig> = {
  ...file_fields,
  total_files: wholeNumber(null, {
    least: 1,
    meaning: 'take at most so many files, in bytewise path order; what is left out is counted as `truncated`',
    default_text: 'all files',
  }),
  chunk_size_mb,
};

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
  fields,
  cap: 'total_files',
  parse: (config) => parseFields('by_filesize', fields, config),
  partition,
};

async function* partition(
  config: ByFilesizeConfig,
  { workspace }: { readonly workspace: Workspace },
): AsyncGenerator<ShardDraft, PartitionSummary> {
  const listed = await workspace.list(config);
  const files = config.total_files === null ? listed : listed.slice(0, config.total_files);
  for (const bin of cutIntoBins(files, {
    bytes: Math.round(config.chunk_size_mb * bytes_per_mb),
    files: bin_files_max,
  })) {
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
    rows.push(fileRow(file));
    digests.push(await digestFile(workspace, root, file));
    bytes += file.bytes;
  }
  return { wave: 0, weight: Math.max(1, bytes), inputs: { root, files: rows }, input_digests: digests };
}
