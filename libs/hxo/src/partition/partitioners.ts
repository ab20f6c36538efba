import { byAssetBucket } from './by-asset-bucket.js';
import { byFilesize } from './by-filesize.js';
import type { Partitioner } from './contract.js';

/** Every partitioner of this build, by name. */
export const partitioners: ReadonlyMap<string, Partitioner> = new Map(
  [byAssetBucket, byFilesize].map((partitioner) => [partitioner.name, partitioner as Partitioner]),
);
