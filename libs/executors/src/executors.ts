import type { Executor } from '#hxo/execute';
import { indexAssets } from './index_assets/index-assets.js';
import { packBackend } from './pack_backend/pack-backend.js';

/** Every executor of this build. */
export const executors: readonly Executor[] = [indexAssets, packBackend];
