export { SqliteCheckpointStore, StoreInUse } from './sqlite-checkpoint-store.js';
