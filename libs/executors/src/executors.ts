import type { Executor } from '#hxo/execute';
import { docsIndex } from './docs_index/docs-index.js';
import { indexAssets } from './index_assets/index-assets.js';
import { packBackend } from './pack_backend/pack-backend.js';

/** Every executor of this build. */
export const executors: readonly Executor[] = [packBackend, indexAssets, docsIndex];
