import { FailShard, type Executor, type ExecutorContext, type Shard, type ShardOutput } from '#hxo/execute';
import { assetLine, compareBytewise, countAsset, no_assets, type Asset } from './asset-lines.js';
import { collect } from './collect.js';
import { parseInputs, type AssetInputs } from './inputs.js';
import { readAsset } from './read-asset.js';

/**
 * Indexes assets: length, SHA-256, media type, and the size of images. A shard's output is its segment of the index, an
 * artifact of JSON lines; the collector merges the segments into one index, which does not depend on how it was sharded.
 *
 * A thread, because all of it is JavaScript. Raise the version with file-type's: it may tell other media types then.
 */
export const indexAssets: Executor<AssetInputs> = {
  name: 'index_assets',
  version: '1',
  kinds: ['assets.index'],
  cacheable: true,
  deterministic: true,
  load: 'cpu',
  isolation: 'thread',
  parse: parseInputs,
  run,
  collect,
};

async function run(shard: Shard<AssetInputs>, context: ExecutorContext): Promise<ShardOutput> {
  const { root, files } = shard.inputs;
  if (files.length !== shard.input_digests.length) {
    throw new FailShard(
      'BAD_INPUTS',
      'index_assets needs one input digest for each file. Use the partitioner by_asset_bucket or by_filesize.',
    );
  }
  const assets: Asset[] = [];
  for (const [i, file] of files.entries()) {
    context.signal.throwIfAborted();
    assets.push(await readAsset(file, root, shard.input_digests[i]!, context));
  }
  assets.sort((a, b) => compareBytewise(a.path, b.path));
  const segment = await context.artifacts.put(
    Buffer.from(assets.map((asset) => assetLine(asset) + '\n').join('')),
  );
  const counts = assets.reduce(
    (sum, { bytes, identity: { mime, fault } }) => countAsset(sum, { bytes, mime, fault }),
    no_assets,
  );
  return {
    digest: segment.digest,
    value: { ...counts, segment: segment.digest, segment_bytes: segment.bytes },
    artifacts: [segment],
  };
}
