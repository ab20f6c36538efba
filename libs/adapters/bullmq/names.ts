import type { LeaseRef } from '#hxo/execute';

/**
 * Names in Redis. All carry one hash tag, so that in a Redis Cluster they live on one node: BullMQ's scripts, and ours,
 * touch several keys at once.
 */
export const queue_prefix = '{hxo}';

/**
 * The queue of an executor's bundles: one for each, so that worker groups scale separately, and one for each version and
 * key, so that during a change of either no worker takes bundles that are not for it.
 *
 * @param key_id what Seal says of its key
 */
export function queueName(executor: string, version: string, key_id: string): string {
  // BullMQ allows no colon.
  return ['bundles', executor, version, ...(key_id === '' ? [] : [key_id])].map(encodeURIComponent).join('-');
}

/** A bundle's job; never used twice, because adding a job id again returns it and runs nothing. */
export function jobId({ plan_id, bundle, attempt }: LeaseRef): string {
  return `${plan_id}-${bundle}-${attempt}`;
}

/** What workers report: a stream, read by a consumer group, so that nothing is lost before it is acknowledged. */
export const report_stream = '{hxo}:reports';
export const report_group = 'hxo';
/** One consumer: what an API process has read and not acknowledged is read again by the next one. */
export const report_consumer = 'api';

/** Which HXO uses this Redis: bundles and results of two would get mixed up. Expires unless it is renewed. */
export const owner_key = '{hxo}:owner';

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
