import {
  cacheKey,
  cache_value_bytes_max,
  CacheLimitError,
  canonicalJson,
  FailShard,
  type CacheKey,
  type Executor,
  type ExecutorContext,
  type Shard,
  type ShardOutput,
} from '#hxo/execute';
import { readWholeFile } from '../read-file.js';
import { collect } from './collect.js';
import { invalid, registryEntry } from './entry.js';
import { parseInputs, type ModuleInputs } from './inputs.js';

/** Longest package.json that is read. npm's own are far below. */
const manifest_bytes_max = 1_000_000;

/**
 * Puts a registry entry for each module into the cache, under `registry/<module>`. The entry is an artifact as well, and
 * its digest is the shard's output: what the leaf commits to is what was put, whether the cache had it already or not.
 * Of a module that was cut, the first part puts the entry and the others only tell that they are there.
 *
 * Not cacheable, because an accepted result of another plan says nothing of what is in the cache today.
 */
export const warmRegistry: Executor<ModuleInputs> = {
  name: 'warm_registry',
  version: '1',
  kinds: ['deploy.prime'],
  cacheable: false,
  deterministic: true,
  load: 'io',
  isolation: 'thread',
  parse: parseInputs,
  run,
  collect,
};

async function run(shard: Shard<ModuleInputs>, context: ExecutorContext): Promise<ShardOutput> {
  const { inputs } = shard;
  const { name, index, count } = inputs;
  if (index > 0) return { value: { module: name, part: [index, count] } };
  const entry = Buffer.from(await entryText(inputs, context));
  if (entry.length > cache_value_bytes_max)
    throw invalid(inputs, `makes an entry of ${entry.length} bytes, ${cache_value_bytes_max} are allowed`);
  const ref = await context.artifacts.put(entry);
  const begun = performance.now();
  const put = await putEntry(keyOf(name), entry, context);
  return {
    digest: ref.digest,
    // What was seen on the way differs between runs; the digest does not hold it.
    value: {
      ...{ module: name, part: [index, count], entry: ref.digest },
      observed: { put, cache_ms: Math.round(performance.now() - begun) },
    },
    artifacts: [ref],
  };
}

async function entryText(inputs: ModuleInputs, context: ExecutorContext): Promise<string> {
  const { root, manifest } = inputs;
  if (manifest === null) return canonicalJson(registryEntry(inputs, null));
  if (manifest.bytes > manifest_bytes_max)
    throw invalid(inputs, `is longer than ${manifest_bytes_max} bytes`);
  const bytes = await readWholeFile(context, root, manifest, manifest.sha256);
  return canonicalJson(registryEntry(inputs, bytes.toString('utf8')));
}

function keyOf(module: string): CacheKey {
  try {
    return cacheKey('registry', module);
  } catch (error) {
    if (!(error instanceof CacheLimitError)) throw error;
    throw new FailShard('MODULE_NAME_INVALID', `Module ${JSON.stringify(module)}: ${error.message}`);
  }
}

async function putEntry(
  key: CacheKey,
  entry: Buffer,
  { cache }: ExecutorContext,
): Promise<'written' | 'unchanged'> {
  const there = await cache.get(key);
  if (there !== null && entry.equals(there)) return 'unchanged';
  await cache.put(key, entry);
  return 'written';
}
