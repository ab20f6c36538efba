export { ThreadBackground } from './thread-background.js';
export { serveBackground } from './serve.js';
export type { Handler } from './protocol.js';
