import { byFilesize } from './by-filesize.js';
import { byRouteMap } from './by-route-map.js';
import type { Partitioner } from './contract.js';

/** Every partitioner of this build, by name. */
export const partitioners: ReadonlyMap<string, Partitioner> = new Map(
  [byFilesize as Partitioner, byRouteMap as Partitioner].map((partitioner) => [
    partitioner.name,
    partitioner,
  ]),
);
