import { byFilesize } from './by-filesize.js';
import { bySqlBatch } from './by-sql-batch.js';
import type { Partitioner } from './contract.js';

/** Every partitioner of this build, by name. */
export const partitioners: ReadonlyMap<string, Partitioner> = new Map(
  [byFilesize, bySqlBatch].map((partitioner) => [partitioner.name, partitioner as Partitioner]),
);
