import { canonicalJson, type CollectedShard, type ExecutorContext, type StageOutput } from '#hxo/execute';
import { isPut, parseInputs } from './inputs.js';
import { contentList, urlList } from './primed-list.js';
import { urlsOf } from './prime-urls.js';

/** The first line of the artifact, so that a reader knows what follows. */
const header = `${canonicalJson({ type: 'hxo-primed/v1' })}\n`;

/**
 * Writes the stage's artifact `primed`: a header line, then what each shard's digest commits to, in the order of the
 * shards. It is made from their inputs alone, for a shard that is done has primed all that they name.
 */
export async function collect(
  results: AsyncIterable<CollectedShard>,
  context: ExecutorContext,
): Promise<StageOutput> {
  const counts = { files: 0, urls: 0, left_out: 0 };
  const lines = async function* (): AsyncGenerator<Buffer> {
    yield Buffer.from(header);
    for await (const shard of results) {
      context.signal.throwIfAborted();
      const inputs = parseInputs(shard.inputs);
      if (inputs.mode === 'urls') {
        const urls = urlsOf(inputs);
        counts.urls += urls.length;
        yield Buffer.from(urlList(inputs.options.method, urls));
      } else {
        const put = inputs.files.filter((file) => isPut(inputs, file)).length;
        counts.files += put;
        counts.left_out += inputs.files.length - put;
        yield Buffer.from(contentList(inputs, shard.input_digests));
      }
    }
  };
  const primed = await context.artifacts.put(lines());
  return { digest: primed.digest, value: counts, artifacts: [{ name: 'primed', ...primed }] };
}
