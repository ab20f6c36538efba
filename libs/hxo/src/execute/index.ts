/** The executor contract: all that an executor may import. */
export * from './contract.js';
export * from './artifact-store.js';
export * from './cache.js';
export * from './http-client.js';
export * from './workspace.js';
export * from './targets.js';
export * from './transport.js';
export * from '../plan/stage-config.js';
export * from '../plan/config-fields.js';
export * from '../plan/globs.js';
export * from '../sql/index.js';
export type { PartitionContext, Partitioner, PartitionSummary, ShardDraft } from '../partition/contract.js';
export { isDocument, routesOf } from '../partition/page-routes.js';
export { pastLimit } from './outcome.js';
export * from './outcome-lines.js';
export { ordinalsOf, registerExecutors, runBundle } from './run-bundle.js';
export { sha256, sha256Stream, parseDigest, isDigest, canonicalJson } from '#truth';
export type { Digest, Json } from '#truth';
