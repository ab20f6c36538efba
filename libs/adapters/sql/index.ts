/** The databases that plans work on: SQLite by better-sqlite3, PostgreSQL by pg. */
export { createTargets, type TargetAddress, type TargetsOptions } from './targets.js';
