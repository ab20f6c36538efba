/**
 * Names in Redis. All carry one hash tag, so that in a Redis Cluster they live on one node: BullMQ's scripts, and ours,
 * touch several keys at once.
 */
export const queue_prefix = '{hxo}';

/** The queue of an executor's bundles: one for each, so that worker groups scale separately. */
export function queueName(executor: string): string {
  return `bundles-${executor}`;
}

/** A bundle's job; never used twice, because adding a job id again returns it and runs nothing. */
export function jobId(lease: {
  readonly plan_id: string;
  readonly bundle: number;
  readonly attempt: number;
}): string {
  return `${lease.plan_id}-${lease.bundle}-${lease.attempt}`;
}

/** What workers report: a stream, read by a consumer group, so that nothing is lost before it is acknowledged. */
export const report_stream = '{hxo}:reports';
export const report_group = 'hxo';
/** One consumer: what an API process has read and not acknowledged is read again by the next one. */
export const report_consumer = 'api';

/** Ids of workers; each has a key of its own that expires. */
export const worker_set = '{hxo}:workers';
export function workerKey(id: string): string {
  return `{hxo}:worker:${id}`;
}

/** Channel on which plans are cancelled, and the key that tells a worker that was not listening. */
export const cancel_channel = '{hxo}:cancel';
export function cancelKey(plan_id: string): string {
  return `{hxo}:cancelled:${plan_id}`;
}
