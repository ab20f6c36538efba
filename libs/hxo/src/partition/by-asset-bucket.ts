import type { Digest, Json } from '#truth';
import type { Workspace, WorkspaceFile } from '../execute/workspace.js';
import { field, globs } from '../plan/config-fields.js';
import { ConfigError, parseFields, type ConfigFields } from '../plan/stage-config.js';
import { byExtension, byGlobs, default_buckets, type BucketOf } from './asset-buckets.js';
import { bytes_per_mb, chunk_size_mb, file_fields, type ByFilesizeConfig } from './by-filesize.js';
import { cutBetweenFiles } from './by-filesize-bins.js';
import type { Partitioner, PartitionSummary, ShardDraft } from './contract.js';
import { digestFile, fileRow } from './file-inputs.js';

/** More assets in one shard would make it slow to retry: each of them is opened and read. */
export const bucket_files_max = 1024;

const buckets_max = 64;
/** A name cannot look like a number: objects put such keys first, whatever their order was. */
const bucket_name = /^[a-z][a-z0-9_-]{0,63}$/;

/** Names of default buckets, or globs by bucket. */
type Buckets = readonly string[] | Readonly<Record<string, readonly string[]>>;

/** `config` of a stage, with its defaults filled in. */
export interface ByAssetBucketConfig extends Omit<ByFilesizeConfig, 'total_files'> {
  readonly buckets: Buckets;
}

const glob_list = globs({ meaning: '' });

const fields: ConfigFields<ByAssetBucketConfig> = {
  ...file_fields,
  buckets: field<Buckets & Json>(
    default_buckets,
    {
      meaning: `names of default buckets (${default_buckets.map((name) => `\`${name}\``).join(', ')}), or an object: bucket name → globs relative to \`root\`; ${buckets_max} buckets at most`,
      default_text: 'all default buckets',
    },
    (value, name) => (Array.isArray(value) ? parseNames(value, name) : parseGlobs(value, name)),
  ),
  chunk_size_mb: {
    ...chunk_size_mb,
    meaning: `${chunk_size_mb.meaning}; a larger file is read whole, in a shard of its own`,
  },
};

/**
 * Sorts the workspace's files into buckets, and cuts each bucket into shards of at most `chunk_size_mb` and
 * {@link bucket_files_max} files, bucket after bucket. A shard's inputs are
 *
 *     {"root": ".", "bucket": "images", "files": [["img/a.png", 120, 0], ["img/b.svg", 40, 0]]}
 *
 * with path, bytes and mode as by_filesize has them. A file is never cut. `input_digests` are the SHA-256 of each file
 * in order. Buckets come in the order of the list, or bytewise by name when they are given with globs; a file is in the
 * first that matches. A file in no bucket is none that the stage was asked for: it is not counted as `matched`.
 */
export const byAssetBucket: Partitioner<ByAssetBucketConfig> = {
  name: 'by_asset_bucket',
  fields,
  parse: (config) => parseFields('by_asset_bucket', fields, config),
  partition,
};

async function* partition(
  config: ByAssetBucketConfig,
  { workspace }: { readonly workspace: Workspace },
): AsyncGenerator<ShardDraft, PartitionSummary> {
  const { names, bucketOf } = sorter(config.buckets);
  const filesByBucket = new Map<string, WorkspaceFile[]>(names.map((name) => [name, []]));
  for (const file of await workspace.list(config)) {
    const bucket = bucketOf(file.path);
    if (bucket !== null) filesByBucket.get(bucket)!.push(file);
  }
  const limits = { bytes: Math.round(config.chunk_size_mb * bytes_per_mb), files: bucket_files_max };
  let taken = 0;
  for (const [bucket, files] of filesByBucket) {
    for (const { from, to } of cutBetweenFiles(files, limits)) {
      yield await draft(workspace, config.root, bucket, files.slice(from, to));
    }
    taken += files.length;
  }
  return { matched: taken, taken, truncated: 0 };
}

async function draft(
  workspace: Workspace,
  root: string,
  bucket: string,
  files: readonly WorkspaceFile[],
): Promise<ShardDraft> {
  const input_digests: Digest[] = [];
  for (const file of files) input_digests.push(await digestFile(workspace, root, file));
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  return {
    wave: 0,
    weight: Math.max(1, bytes),
    inputs: { root, bucket, files: files.map(fileRow) },
    input_digests,
  };
}

function sorter(buckets: Buckets): { readonly names: readonly string[]; readonly bucketOf: BucketOf } {
  if (isList(buckets)) return { names: buckets, bucketOf: byExtension(buckets) };
  // A plan is stored with its keys sorted, so the order in which buckets were written down is lost.
  const entries = Object.entries(buckets).sort(([a], [b]) => (a < b ? -1 : 1));
  return { names: entries.map(([name]) => name), bucketOf: byGlobs(entries) };
}

function isList(buckets: Buckets): buckets is readonly string[] {
  return Array.isArray(buckets);
}

function parseNames(value: readonly Json[], name: string): Buckets & Json {
  const known = `Known: ${default_buckets.join(', ')}. For buckets of your own give an object: name → globs.`;
  if (value.length === 0) throw new ConfigError(name, `${name} must name at least one bucket. ${known}`);
  for (const [i, bucket] of value.entries()) {
    if (typeof bucket !== 'string' || !default_buckets.includes(bucket)) {
      throw new ConfigError(name, `${name} has the unknown bucket ${shown(bucket)}. ${known}`);
    }
    if (value.indexOf(bucket) !== i) throw new ConfigError(name, `${name} names ${bucket} twice.`);
  }
  return value as readonly string[] & Json;
}

function parseGlobs(value: Json, name: string): Buckets & Json {
  if (typeof value !== 'object' || value === null) {
    throw new ConfigError(
      name,
      `${name} must be a list of bucket names, such as ["images", "fonts"], or an object: name → globs.`,
    );
  }
  const entries = Object.entries(value);
  if (entries.length === 0 || entries.length > buckets_max) {
    throw new ConfigError(name, `${name} must have 1 to ${buckets_max} buckets.`);
  }
  for (const [bucket, list] of entries) {
    if (!bucket_name.test(bucket)) {
      throw new ConfigError(
        name,
        `${name} has a bucket named ${shown(bucket)}. A name begins with a lower-case letter and has at most 64 letters, digits, "_" and "-".`,
      );
    }
    const parsed = glob_list.parse(list, `${name}.${bucket}`);
    if (parsed.length === 0) {
      throw new ConfigError(`${name}.${bucket}`, `${name}.${bucket} must have at least one glob.`);
    }
  }
  return value as Record<string, readonly string[]> & Json;
}

function shown(value: Json): string {
  return JSON.stringify(value).slice(0, 80);
}
