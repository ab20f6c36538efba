export { BullTransport, type BullTransportOptions } from './bull-transport.js';
export { BundleWorker, type BundleWorkerOptions } from './bundle-worker.js';
export type { WorkerCard } from './worker-registry.js';
