import {
  FailShard,
  parseDigest,
  routesOf,
  type CollectedShard,
  type ExecutorContext,
  type Json,
  type StageOutput,
} from '#hxo/execute';
import { readArtifact } from '../read-artifact.js';
import { indexJson, type NumberedDocument } from './index-json.js';
import { parseInputs } from './inputs.js';
import { SegmentReader, type SegmentDocument } from './segment.js';

/** Most bytes that the segments of a stage have together: they are held in memory while they are merged. */
const segments_bytes_max = 512_000_000;

/** Whoever searches has all of the index in memory, at about ten times its length. */
const index_bytes_max = 128_000_000;

/** A document of some segment, on its way to its number. */
interface CollectedDocument {
  readonly document: SegmentDocument;
  /** Null when it follows from the paths of all. */
  readonly route: string | null;
}

interface CollectedSegments {
  readonly readers: SegmentReader[];
  readonly documents: CollectedDocument[];
  readonly left_out: number;
  readonly cut: number;
}

/**
 * Merges the segments of a stage into two artifacts: `index`, as MiniSearch serialises it, and `documents`, the texts that
 * snippets are cut from, one JSON line `{"route", "text"}` for each document in the order of the index. Documents are in
 * the order of their routes and terms sorted, so neither depends on how the stage was sharded. The stage's digest is that
 * of the index.
 *
 * Throws {@link FailShard} `INDEX_TOO_LARGE`.
 */
export async function collect(
  results: AsyncIterable<CollectedShard>,
  context: ExecutorContext,
): Promise<StageOutput> {
  const { readers, documents, left_out, cut } = await readSegments(results, context);
  const numbered = numberDocuments(documents);
  const texts = await context.artifacts.put(textLines(numbered));
  const terms = { count: 0 };
  const index = await context.artifacts.put(limited(indexJson(readers, numbered, terms), context.signal));
  return {
    digest: index.digest,
    value: { documents: numbered.length, terms: terms.count, left_out, cut },
    artifacts: [
      { name: 'index', ...index },
      { name: 'documents', ...texts },
    ],
  };
}

async function readSegments(
  results: AsyncIterable<CollectedShard>,
  { artifacts, signal }: ExecutorContext,
): Promise<CollectedSegments> {
  const readers: SegmentReader[] = [];
  const documents: CollectedDocument[] = [];
  let [left_out, cut, bytes] = [0, 0, 0];
  for await (const shard of results) {
    signal.throwIfAborted();
    const value = shard.value as { readonly [key: string]: Json };
    left_out += Number(value['left_out']);
    cut += Number(value['cut']);
    bytes += Number(value['bytes']);
    if (bytes > segments_bytes_max) throw tooLarge('segments', segments_bytes_max);
    const reader = new SegmentReader(await readArtifact(artifacts, parseDigest(value['segment'])));
    readers.push(reader);
    const inputs = parseInputs(shard.inputs);
    for (const [i, document] of reader.documents.entries())
      documents.push({ document, route: inputs.documents[i]!.route });
  }
  return { readers, documents, left_out, cut };
}

/** Gives documents their routes and their numbers in the index; the result is in the order of the documents given. */
function numberDocuments(documents: readonly CollectedDocument[]): NumberedDocument[] {
  const routeless = documents.filter(({ route }) => route === null);
  const found = routesOf(routeless.map(({ document }) => document.path));
  const by_path = new Map(routeless.map(({ document }, i) => [document.path, found[i]!]));
  const routed = documents.map(({ document, route }) => ({
    ...document,
    route: route ?? by_path.get(document.path)!,
  }));
  const numbers = new Map(
    routed
      .map(({ route }) => route)
      .sort()
      .map((route, number) => [route, number]),
  );
  return routed.map((document) => ({ ...document, number: numbers.get(document.route)! }));
}

async function* textLines(documents: readonly NumberedDocument[]): AsyncGenerator<Uint8Array> {
  for (const { route, text } of [...documents].sort((a, b) => a.number - b.number)) {
    yield Buffer.concat([Buffer.from(`{"route":${JSON.stringify(route)},"text":`), text, line_end]);
  }
}

const line_end = Buffer.from('}\n');

async function* limited(pieces: Iterable<string>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for (const piece of pieces) {
    signal.throwIfAborted();
    const chunk = Buffer.from(piece);
    bytes += chunk.length;
    if (bytes > index_bytes_max) throw tooLarge('index', index_bytes_max);
    yield chunk;
  }
}

function tooLarge(what: string, most: number): FailShard {
  return new FailShard(
    'INDEX_TOO_LARGE',
    `The ${what} would have more than ${most / 1_000_000} MB. Index fewer documents in one stage: narrow "root", "include" or "routes".`,
  );
}
