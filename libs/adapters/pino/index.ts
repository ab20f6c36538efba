export { createLog, type Log } from './log.js';
