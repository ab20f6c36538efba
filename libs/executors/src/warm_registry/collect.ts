import { canonicalJson, type CollectedShard, type ExecutorContext, type StageOutput } from '#hxo/execute';
import { readArtifact } from '../read-artifact.js';
import { parseInputs } from './inputs.js';

/** The first line of the artifact, so that a reader knows what follows. */
const header = canonicalJson({ type: 'hxo-registry/v1' });

/**
 * Writes the stage's artifact `registry`: a header line, then the registry entry of each module, a line of canonical JSON
 * each, in the order of the shards. It depends on nothing but the entries.
 */
export async function collect(
  results: AsyncIterable<CollectedShard>,
  context: ExecutorContext,
): Promise<StageOutput> {
  let modules = 0;
  const lines = async function* (): AsyncGenerator<Buffer> {
    yield Buffer.from(`${header}\n`);
    for await (const shard of results) {
      context.signal.throwIfAborted();
      // Only the first part of a module has its entry.
      if (parseInputs(shard.inputs).index > 0) continue;
      modules++;
      yield Buffer.concat([await readArtifact(context.artifacts, shard.digest), Buffer.from('\n')]);
    }
  };
  const registry = await context.artifacts.put(lines());
  return { digest: registry.digest, value: { modules }, artifacts: [{ name: 'registry', ...registry }] };
}
