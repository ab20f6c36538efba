import type { Executor } from '#hxo/execute';
import { packBackend } from './pack_backend/pack-backend.js';

/** Every executor of this build. */
export const executors: readonly Executor[] = [packBackend];
