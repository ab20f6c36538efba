import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import {
  parseDigest,
  type ArtifactRef,
  type ArtifactStore,
  type CollectedShard,
  type ExecutorContext,
  type Json,
  type StageOutput,
} from '#hxo/execute';
import { parseInputs } from './inputs.js';
import {
  countPack,
  countsLine,
  manifestLine,
  manifest_header,
  packsLine,
  packs_header,
  type PackCounts,
} from './manifest.js';

/**
 * Writes the stage's two artifacts, `manifest` and `packs`, shard by shard; neither is ever whole in memory. The stage's
 * digest is the manifest's, which depends on nothing but the packs' content.
 */
export async function collect(
  results: AsyncIterable<CollectedShard>,
  context: ExecutorContext,
): Promise<StageOutput> {
  const manifest = openArtifact(context.artifacts);
  const packs = openArtifact(context.artifacts);
  let counts: PackCounts = { files: 0, bytes: 0, packs: 0 };
  try {
    await manifest.write(manifest_header);
    await packs.write(packs_header);
    for await (const shard of results) {
      context.signal.throwIfAborted();
      const { entries, part } = parseInputs(shard.inputs);
      const described = entries.map((entry, i) => ({
        ...entry,
        digest: parseDigest(shard.input_digests[i]),
      }));
      await manifest.write(manifestLine({ tar: shard.digest, entries: described, part }));
      const { blob, blob_bytes } = shard.value as { readonly [key: string]: Json };
      await packs.write(packsLine({ tar: shard.digest, blob: parseDigest(blob), bytes: Number(blob_bytes) }));
      counts = countPack(counts, entries);
    }
    await manifest.write(countsLine(counts));
  } catch (error) {
    await Promise.all([manifest.discard(error as Error), packs.discard(error as Error)]);
    throw error;
  }
  const [manifestRef, packsRef] = await Promise.all([manifest.close(), packs.close()]);
  return {
    digest: manifestRef.digest,
    value: { ...counts },
    artifacts: [
      { name: 'manifest', ...manifestRef },
      { name: 'packs', ...packsRef },
    ],
  };
}

/** An artifact that is written line by line, as fast as the store takes it. */
function openArtifact(artifacts: ArtifactStore): {
  write(line: string): Promise<void>;
  close(): Promise<ArtifactRef>;
  discard(cause: Error): Promise<void>;
} {
  const lines = new PassThrough();
  const stored = artifacts.put(lines);
  // Whatever ends the stream early also rejects `stored`, which `write` and `close` hand on.
  lines.on('error', () => undefined);
  stored.catch(() => undefined);
  return {
    write: async (line) => {
      if (!lines.write(line + '\n')) await Promise.race([once(lines, 'drain'), stored]);
    },
    close: () => {
      lines.end();
      return stored;
    },
    discard: async (cause) => {
      lines.destroy(cause);
      await Promise.allSettled([stored]);
    },
  };
}
