export * from './errors.js';
export * from './views.js';
export * from './hxo.js';
export * from './partition/contract.js';
export * from './execute/index.js';
