import type { Json } from '#hxo/execute';
import type { NamedFile } from '../read-file.js';
import { ShardInputs } from '../shard-inputs.js';

/** What one shard indexes. */
export interface AssetInputs {
  readonly root: string;
  readonly files: readonly NamedFile[];
}

const expected = new ShardInputs(
  'index_assets indexes {root, files: [[path, bytes, mode], …]}. Use the partitioner by_asset_bucket or by_filesize.',
);

/** Reads the inputs that by_asset_bucket and by_filesize make. Throws FailShard on any other shape. */
export function parseInputs(inputs: Json): AssetInputs {
  const { root, files, part } = expected.record(inputs);
  if (typeof root === 'string' && Array.isArray(files))
    return { root, files: files.map((row: Json) => expected.file(row)) };
  if (!Array.isArray(part)) throw expected.refused();
  throw expected.refused(
    `index_assets reads files whole, and "${String(part[0])}" was cut into ranges. Raise chunk_size_mb above ${Number(part[1])} bytes, or use the partitioner by_asset_bucket.`,
  );
}
