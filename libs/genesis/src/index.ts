export * from './topics.js';
export * from './bus.js';
export * from './journal.js';
export * from './genesis.module.js';
