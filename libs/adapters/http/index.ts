export { createHttpClient, type HttpClientOptions } from './http-client.js';
export type { HostRule } from './host-rules.js';
