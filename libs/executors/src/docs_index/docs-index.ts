import { FailShard, type Executor, type ExecutorContext, type Shard, type ShardOutput } from '#hxo/execute';
import { collect } from './collect.js';
import type { DocumentText } from './document-text.js';
import { parseInputs, type DocsInputs } from './inputs.js';
import { readDocument } from './read-document.js';
import { SegmentBuilder } from './segment.js';

/**
 * Makes a full-text segment of Markdown and HTML documents; the collector merges the segments of a stage into one index
 * in the format of MiniSearch, which does not depend on how the documents were sharded.
 *
 * All of it is JavaScript, so a thread will do: one that is stuck in a hostile document is ended at its timeout.
 */
export const docsIndex: Executor<DocsInputs> = {
  name: 'docs_index',
  version: '1',
  kinds: ['docs.index'],
  cacheable: true,
  deterministic: true,
  load: 'cpu',
  isolation: 'thread',
  parse: parseInputs,
  run,
  collect,
};

async function run(shard: Shard<DocsInputs>, context: ExecutorContext): Promise<ShardOutput> {
  const { root, documents, left_out, digests } = shard.inputs;
  if (shard.input_digests.length !== digests) {
    throw new FailShard(
      'BAD_INPUTS',
      'docs_index needs one input digest for each file. Use the partitioner by_route_map or by_filesize.',
    );
  }
  const segment = new SegmentBuilder();
  let cut = 0;
  for (const document of documents) {
    const expected = shard.input_digests[document.digest_at]!;
    const read = await readDocument(context.workspace, root, document, expected, context.signal);
    segment.add(document.path, await extract(document.path, read.source));
    if (read.cut) cut++;
  }
  const { bytes, terms } = segment.finish();
  const stored = await context.artifacts.put(bytes);
  return {
    digest: stored.digest,
    value: { documents: documents.length, left_out, cut, terms, segment: stored.digest, bytes: stored.bytes },
    artifacts: [stored],
  };
}

/** Parsers are loaded when there is something to parse: most members of a pool never see a document. */
async function extract(path: string, source: string): Promise<DocumentText> {
  const title = titleByPath(path);
  if (/\.html?$/i.test(path)) return (await import('./extract-html.js')).extractHtml(source, title);
  return (await import('./extract-markdown.js')).extractMarkdown(source, title);
}

/** The name of the file without its extension, or that of its folder for an index or README. */
function titleByPath(path: string): string {
  const names = path.replace(/\.[^./]*$/, '').split('/');
  const own = names.at(-1)!;
  return (/^(?:index|readme)$/i.test(own) ? names.at(-2) : undefined) ?? own;
}
