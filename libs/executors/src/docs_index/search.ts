import MiniSearch, { type AsPlainObject, type SearchResult } from 'minisearch';
import { ArtifactMissing, sha256, type ArtifactStore, type Digest } from '#hxo/execute';
import { snippetOf, type Snippet } from './snippet.js';
import { search_options, type IndexedDocument } from './terms.js';

/** Indexes kept in memory, and bytes of their artifacts after which only the last one is. */
const indexes_max = 2;
const indexes_bytes_max = 256_000_000;

/** Thrown when the artifacts of an index are gone or damaged. The message says what to do. */
export class IndexUnusable extends Error {
  override readonly name = 'IndexUnusable';
}

/** What to look for, and in which index: the two artifacts of a docs_index stage. */
export interface DocsQuery {
  readonly index: Digest;
  readonly documents: Digest;
  readonly query: string;
  /** Most hits to return. */
  readonly limit: number;
}

export interface DocsHit extends Snippet {
  readonly route: string;
  readonly title: string;
  readonly path: string;
  /** Larger is better; comparable inside one answer only. */
  readonly score: number;
}

export interface DocsHits {
  /** Documents that match, of which `items` are the best. */
  readonly total: number;
  readonly items: readonly DocsHit[];
}

/** An index in memory. */
interface LoadedIndex {
  readonly search: MiniSearch<IndexedDocument>;
  readonly bytes: number;
  readonly textOf: (route: string) => string;
}

/**
 * A search over the indexes of docs_index stages. The indexes that were used last stay in memory, under their digests.
 * Loading one blocks the thread for as long as it is large, so search in a thread that serves nothing else. Throws
 * {@link IndexUnusable}.
 */
export function createDocsSearch(artifacts: ArtifactStore): (query: DocsQuery) => Promise<DocsHits> {
  // By both digests, for other texts may come to the same index. Least recently used first; promises, so that two queries
  // load an index once.
  const loaded = new Map<string, Promise<LoadedIndex>>();
  const use = async ({ index, documents }: DocsQuery): Promise<LoadedIndex> => {
    const key = `${index} ${documents}`;
    const loading = loaded.get(key) ?? load(artifacts, index, documents);
    loaded.delete(key);
    loaded.set(key, loading);
    try {
      await loading;
      await forgetOldest(loaded);
      return await loading;
    } catch (error) {
      loaded.delete(key);
      throw error;
    }
  };
  return async (query) => {
    const { search, textOf } = await use(query);
    const results = search.search(query.query);
    const items = results.slice(0, query.limit).map((result) => hit(result, textOf));
    return { total: results.length, items };
  };
}

function hit(result: SearchResult, textOf: (route: string) => string): DocsHit {
  const route = String(result.id);
  return {
    route,
    title: String(result['title']),
    path: String(result['path']),
    ...snippetOf(textOf(route), new Set(Object.keys(result.match))),
    score: result.score,
  };
}

async function forgetOldest(loaded: Map<string, Promise<LoadedIndex>>): Promise<void> {
  const entries = await Promise.all(
    [...loaded].map(async ([key, loading]) => ({
      key,
      bytes: await loading.then(
        ({ bytes }) => bytes,
        () => 0,
      ),
    })),
  );
  let bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  while (entries.length > 1 && (entries.length > indexes_max || bytes > indexes_bytes_max)) {
    const oldest = entries.shift()!;
    loaded.delete(oldest.key);
    bytes -= oldest.bytes;
  }
}

async function load(artifacts: ArtifactStore, index: Digest, documents: Digest): Promise<LoadedIndex> {
  const json = await readArtifact(artifacts, index);
  const texts = await readArtifact(artifacts, documents);
  const stored = JSON.parse(json.toString()) as AsPlainObject;
  const lines = linesByRoute(stored.documentIds, texts);
  return {
    search: MiniSearch.loadJS<IndexedDocument>(stored, search_options),
    bytes: json.length + texts.length,
    textOf: (route) => (JSON.parse(lines.get(route)!.toString()) as { readonly text: string }).text,
  };
}

/** The line of each document; they are in the order of the documents' numbers. */
function linesByRoute(routes: Readonly<Record<string, string>>, texts: Buffer): Map<string, Buffer> {
  const lines = new Map<string, Buffer>();
  let start = 0;
  for (const route of Object.values(routes)) {
    const end = texts.indexOf(10, start);
    lines.set(route, texts.subarray(start, end));
    start = end + 1;
  }
  return lines;
}

async function readArtifact(artifacts: ArtifactStore, digest: Digest): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of await artifacts.open(digest)) chunks.push(chunk as Uint8Array);
  } catch (error) {
    if (error instanceof ArtifactMissing) throw new IndexUnusable(error.message);
    throw error;
  }
  const bytes = Buffer.concat(chunks);
  if (sha256(bytes) === digest) return bytes;
  throw new IndexUnusable(
    `Artifact ${digest} of the index is damaged. Run "hxo verify --store", and submit the plan again.`,
  );
}
