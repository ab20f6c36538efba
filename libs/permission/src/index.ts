export * from './access.js';
export * from './authenticate.js';
export * from './coalesced-denials.js';
export * from './denial.js';
export * from './permission.guard.js';
export * from './permission.module.js';
