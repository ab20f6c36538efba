/** What partitioner and executor of SQL work share. */
export * from './backfill.js';
export * from './key-range.js';
export * from './key-writes.js';
export * from './ledger-rows.js';
export * from './refusals.js';
export * from './statements.js';
export * from './tokens.js';
