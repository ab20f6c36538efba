/** The script of the background thread that searches: it has the indexes in memory. */
import { workerData } from 'node:worker_threads';
import type { SearchHits, SearchOrder } from '#hxo';
import { createDocsSearch } from '#executors';
import { serveBackground } from '#adapters/background';
import { createArtifactStore } from '#adapters/files';
import type { BackgroundOptions } from './options.js';

const { artifacts_dir } = workerData as BackgroundOptions;
const search: (order: SearchOrder) => Promise<SearchHits> = createDocsSearch(
  createArtifactStore(artifacts_dir),
);

serveBackground({ search: (order) => search(order as SearchOrder) });
