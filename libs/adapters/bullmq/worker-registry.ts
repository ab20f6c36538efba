import type { Redis } from 'ioredis';
import { worker_set, workerKey } from './names.js';

/** A worker that has not been heard of for so long does not count. */
const expire_ms = 8_000;

/** What a worker says of itself in every heartbeat. */
export interface WorkerCard {
  readonly id: string;
  /** Bundles that it executes at once. */
  readonly concurrency: number;
  /** Shards of each that it executes at once, when their executor only waits. A worker of an earlier build says nothing. */
  readonly lanes?: number;
  /** Bundles that it has at present. */
  readonly load: number;
  /** Executor name → version. */
  readonly executors: Readonly<Record<string, string>>;
  /** Tells keys of the HMAC apart: see Seal. */
  readonly key_id: string;
  /** SHA-256 that tells workspaces apart; empty when there is none that can be listed. */
  readonly workspace: string;
  readonly hxo_version: string;
  readonly node_version: string;
}

/** Says that a worker is there. To be repeated every few seconds. */
export async function announceWorker(redis: Redis, card: WorkerCard): Promise<void> {
  await redis
    .multi()
    .sadd(worker_set, card.id)
    .set(workerKey(card.id), JSON.stringify(card), 'PX', expire_ms)
    .exec();
}

/** Says that a worker has gone. */
export async function dismissWorker(redis: Redis, id: string): Promise<void> {
  await redis.multi().srem(worker_set, id).del(workerKey(id)).exec();
}

/** The workers that are there. Forgets those whose heartbeat has expired. */
export async function listWorkers(redis: Redis): Promise<WorkerCard[]> {
  const ids = await redis.smembers(worker_set);
  if (ids.length === 0) return [];
  const cards = await redis.mget(ids.map(workerKey));
  const gone = ids.filter((_, i) => cards[i] === null);
  if (gone.length > 0) await redis.srem(worker_set, ...gone);
  return cards.flatMap((card) => (card === null ? [] : [JSON.parse(card) as WorkerCard]));
}
