import { FailShard, type Json } from '#hxo/execute';

/** A file to look at. */
export interface AssetFile {
  /** Relative to the root of the listing. */
  readonly path: string;
  readonly bytes: number;
}

/** What one shard indexes. */
export interface AssetInputs {
  readonly root: string;
  readonly files: readonly AssetFile[];
}

/** Reads the inputs that by_asset_bucket and by_filesize make. Throws {@link FailShard} on any other shape. */
export function parseInputs(inputs: Json): AssetInputs {
  const isRecord = typeof inputs === 'object' && inputs !== null && !Array.isArray(inputs);
  const { root, files, part } = (isRecord ? inputs : {}) as Readonly<Record<string, Json | undefined>>;
  if (typeof root === 'string' && Array.isArray(files)) return { root, files: files.map(fileOf) };
  if (Array.isArray(part)) {
    throw new FailShard(
      'BAD_INPUTS',
      `index_assets reads files whole, and "${String(part[0])}" was cut into ranges. Raise chunk_size_mb above ${Number(part[1])} bytes, or use the partitioner by_asset_bucket.`,
    );
  }
  throw badInputs();
}

function fileOf(row: Json): AssetFile {
  const [path, bytes] = Array.isArray(row) ? (row as readonly Json[]) : [];
  if (typeof path !== 'string' || path === '' || !Number.isSafeInteger(bytes) || Number(bytes) < 0) {
    throw badInputs();
  }
  return { path, bytes: bytes as number };
}

function badInputs(): FailShard {
  return new FailShard(
    'BAD_INPUTS',
    'index_assets indexes {root, files: [[path, bytes, mode], …]}. Use the partitioner by_asset_bucket or by_filesize.',
  );
}
