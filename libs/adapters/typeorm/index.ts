export { StoreInUse } from './open-store.js';
export { SqliteCheckpointStore } from './sqlite-checkpoint-store.js';
