import { byDagDepth } from './by-dag-depth.js';
import { byFilesize } from './by-filesize.js';
import { byModule } from './by-module.js';
import type { Partitioner } from './contract.js';

/** Every partitioner of this build, by name. */
export const partitioners: ReadonlyMap<string, Partitioner> = new Map(
  [byFilesize, byModule, byDagDepth].map((partitioner) => [partitioner.name, partitioner as Partitioner]),
);
