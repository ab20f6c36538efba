import { byAssetBucket } from './by-asset-bucket.js';
import { byDagDepth } from './by-dag-depth.js';
import { byFilesize } from './by-filesize.js';
import { byModule } from './by-module.js';
import { byRouteMap } from './by-route-map.js';
import { bySqlBatch } from './by-sql-batch.js';
import type { Partitioner } from './contract.js';

const all = [
  byFilesize,
  byModule,
  byDagDepth,
  byRouteMap,
  byAssetBucket,
  bySqlBatch,
] as readonly Partitioner[];

/** Every partitioner of this build, by name. */
export const partitioners: ReadonlyMap<string, Partitioner> = new Map(
  all.map((partitioner) => [partitioner.name, partitioner]),
);
