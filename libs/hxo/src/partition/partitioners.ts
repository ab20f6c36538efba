import { byFilesize } from './by-filesize.js';
import { byModule } from './by-module.js';
import type { Partitioner } from './contract.js';

/** Every partitioner of this build, by name. */
export const partitioners: ReadonlyMap<string, Partitioner> = new Map(
  [byFilesize, byModule].map((partitioner) => [partitioner.name, partitioner as Partitioner]),
);
