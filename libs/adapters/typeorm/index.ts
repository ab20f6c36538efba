export { StoreInUse } from './open-store.js';
export { SqliteCheckpointStore } from './sqlite-checkpoint-store.js';
export { openPlanReader } from './sqlite-reader.js';
export { WalCheckpointer } from './wal-checkpointer.js';
