/**
 * What reads a store beside its leader. An entry of its own, without TypeORM: that takes a fifth of a second to load, which
 * every background thread would spend before its first call.
 */
export { openPlanReader } from './sqlite-reader.js';
export { WalCheckpointer } from './wal-checkpointer.js';
