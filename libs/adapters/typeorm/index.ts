export { SqliteCheckpointStore, StoreInUse } from './sqlite-checkpoint-store.js';
export { openPlanReader } from './sqlite-reader.js';
