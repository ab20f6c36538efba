export * from './canonical-json.js';
export * from './digest.js';
