/**
 * The script of one pool thread or process: executors and all that they may use put together, then served.
 */
import { registerExecutors, type HttpClient } from '#hxo/execute';
import { createArtifactStore, createWorkspace, type WorkspaceOptions } from '#adapters/files';
import type { HostRule } from '#adapters/http';
import { createTargets, type TargetsOptions } from '#adapters/sql';
import { serveMember } from '#adapters/threads';
import { loadExecutors } from '#executors';
import { openCache, type CachePlace } from '../../open-cache.js';

/** A shard waits so long for a cache that is away, and is then retried: a Redis that restarts costs no shard. */
const cache_wait_ms = 10_000;

/** What the pool passes to its members as `member_options`. */
export interface PoolMemberOptions {
  /** Folder of the artifact store. */
  readonly artifacts_dir: string;
  readonly workspace: WorkspaceOptions;
  /** The databases that plans may name; none when left out. */
  readonly targets?: TargetsOptions;
  /** File URLs of further executor modules. */
  readonly extra_executors: readonly string[];
  readonly cache: CachePlace;
  /** HXO_PRIME_ALLOWED_HOSTS. */
  readonly allowed_hosts: readonly HostRule[];
}

serveMember(async (options) => {
  const { artifacts_dir, workspace, targets, extra_executors, cache, allowed_hosts } =
    options as PoolMemberOptions;
  return {
    executors: registerExecutors(await loadExecutors(extra_executors)),
    artifacts: createArtifactStore(artifacts_dir),
    workspace: createWorkspace(workspace),
    cache: openCache(cache, cache_wait_ms),
    http: httpClient(allowed_hosts),
    targets: createTargets(targets ?? { addresses: {}, forbidden: [] }),
  };
});

/** Loaded at the first request, which most members never make: they start the sooner. */
function httpClient(allowed: readonly HostRule[]): HttpClient {
  let loaded: Promise<HttpClient> | undefined;
  const load = (): Promise<HttpClient> =>
    (loaded ??= import('#adapters/http').then(({ createHttpClient }) => createHttpClient({ allowed })));
  return { request: async (request) => (await load()).request(request) };
}
