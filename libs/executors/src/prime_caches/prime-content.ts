import { cacheKey, FailShard, type ExecutorContext, type Shard, type ShardOutput } from '#hxo/execute';
import { readWholeFile } from '../read-file.js';
import { eachAtOnce } from './at-once.js';
import { isPut, type ContentInputs } from './inputs.js';
import { contentList } from './primed-list.js';

/** Files in memory at once, each of 1 MiB at most. */
const puts_at_once = 8;

/** Puts the content of each file into the cache, under `content/<sha256>`. Putting twice leaves what putting once does. */
export async function primeContent(
  { inputs, input_digests }: Shard<ContentInputs>,
  context: ExecutorContext,
): Promise<ShardOutput> {
  const { files, root, options } = inputs;
  if (files.length !== input_digests.length) {
    throw new FailShard('BAD_INPUTS', 'prime_caches needs one input digest for each file.');
  }
  let bytes = 0;
  await eachAtOnce(files, puts_at_once, async (file, i) => {
    if (!isPut(inputs, file)) return;
    const content = await readWholeFile(context, root, file, input_digests[i]!);
    await context.cache.put(cacheKey('content', input_digests[i]!), content, {
      ttl_ms: options.content_ttl_ms,
    });
    bytes += content.length;
  });
  const primed = files.filter((file) => isPut(inputs, file)).length;
  const list = await context.artifacts.put(Buffer.from(contentList(inputs, input_digests)));
  return {
    digest: list.digest,
    value: { mode: 'content', files: files.length, primed, left_out: files.length - primed, bytes },
    artifacts: [list],
  };
}
