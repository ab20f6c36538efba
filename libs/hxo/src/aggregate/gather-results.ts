import type { Json } from '#truth';
import type { PlanReader } from '../checkpoint/checkpoint-store.js';
import { outputDigest } from '../checkpoint/result-lines.js';
import { parseShardLines } from '../checkpoint/segment-lines.js';
import type { ArtifactRef, ArtifactStore } from '../execute/artifact-store.js';
import type { CollectedShard } from '../execute/contract.js';
import type { PlanKey } from '../background.js';

/** Bytes of lines put together before they are written. */
const chunk_chars = 262_144;

/** Writes a stage's results, in ordinal order, as JSON lines, each a CollectedShard. Every shard must be done. */
export async function gatherResults(
  reader: PlanReader,
  artifacts: ArtifactStore,
  plan: PlanKey,
  stage_no: number,
): Promise<ArtifactRef> {
  return artifacts.put(chunks(collectedShards(reader, plan, stage_no)));
}

/** A stage's segments joined with its results. Throws when a shard has no result or has failed. */
export function* collectedShards(
  reader: PlanReader,
  plan: PlanKey,
  stage_no: number,
): Generator<CollectedShard> {
  const results = reader.results(plan.plan_no, plan.revision, stage_no);
  for (const segment of reader.segments(plan.plan_no, stage_no)) {
    let ordinal = segment.first_ordinal;
    for (const line of parseShardLines(segment.lines)) {
      const next = results.next();
      const result = next.done === true ? null : next.value;
      if (result?.ordinal !== ordinal || result.status !== 'done') {
        throw new Error(`Shard ${ordinal} of stage ${stage_no} has no result to collect.`);
      }
      yield {
        ordinal,
        inputs: JSON.parse(line.inputs) as Json,
        input_digests: line.input_digests,
        digest: outputDigest(result),
        value: JSON.parse(result.value) as Json,
      };
      ordinal++;
    }
  }
}

async function* chunks(shards: Iterable<CollectedShard>): AsyncGenerator<Uint8Array> {
  let text = '';
  for (const shard of shards) {
    text += `${JSON.stringify(shard)}\n`;
    if (text.length < chunk_chars) continue;
    yield Buffer.from(text, 'utf8');
    text = '';
  }
  yield Buffer.from(text, 'utf8');
}
