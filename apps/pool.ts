/** The pool of threads and processes: the embedded server's own, and each worker's. */
import type { Transport } from '#hxo/execute';
import { hxoFiles, processEnvironment, workspaceOf, type Settings } from '#settings';
import type { Log } from '#adapters/pino';
import { createThreadTransport } from '#adapters/threads';
import { cachePlace } from './open-cache.js';
import type { PoolMemberOptions } from './worker/src/pool-member.js';

/**
 * Puts a pool together.
 *
 * Where databases are configured, backfills are likely, and one process is kept ready: their batches run in one, which takes
 * as long to start as a hundred batches take to apply. Elsewhere it would only take 50 MB.
 *
 * @param extra_executors file URLs of further executor modules
 */
export function createPool(settings: Settings, extra_executors: readonly string[], log: Log): Transport {
  return createThreadTransport({
    member: new URL('./worker/src/pool-member.js', import.meta.url),
    member_options: {
      artifacts_dir: settings.artifacts_dir,
      workspace: workspaceOf(settings),
      targets: { addresses: settings.targets, forbidden: hxoFiles(settings) },
      extra_executors,
      cache: cachePlace(settings),
      allowed_hosts: settings.prime_allowed_hosts,
    } satisfies PoolMemberOptions,
    ready: Object.keys(settings.targets).length > 0 ? ['process'] : [],
    workers: settings.worker_concurrency,
    lanes: settings.worker_lanes,
    env: processEnvironment(),
    log: (message) => log.warn(message),
  });
}
