import { FailShard, isDocument, type Json } from '#hxo/execute';
import { ShardInputs } from '../shard-inputs.js';

/** A document of a shard. */
export interface DocumentFile {
  /** Relative to the root of the listing. */
  readonly path: string;
  readonly bytes: number;
  /** Null when the partitioner knows no routes: it follows from the paths of the whole stage then. */
  readonly route: string | null;
  /** Where its digest stands in the shard's input digests. */
  readonly digest_at: number;
}

/** What one shard indexes. */
export interface DocsInputs {
  readonly root: string;
  readonly documents: readonly DocumentFile[];
  /** Files that are no documents, going by their names. */
  readonly left_out: number;
  /** How many input digests belong to these inputs. */
  readonly digests: number;
}

const expected = new ShardInputs(
  'docs_index indexes {root, pages: [[route, path, bytes], …]} or {root, files: [[path, bytes, mode], …]}. Use the partitioner by_route_map or by_filesize.',
);

/**
 * Reads the inputs that by_route_map and by_filesize make. Throws {@link FailShard} `DOCUMENT_CUT` for a range of a
 * document, which cannot be parsed without the rest, and `BAD_INPUTS` for any other shape.
 */
export function parseInputs(inputs: Json): DocsInputs {
  const { root, pages, files, part } = expected.record(inputs);
  const base = expected.anyText(root);
  if (Array.isArray(pages)) return fromPages(base, pages as readonly Json[]);
  if (Array.isArray(files)) return fromFiles(base, files as readonly Json[]);
  return fromPart(base, part);
}

function fromPages(root: string, rows: readonly Json[]): DocsInputs {
  const pages = rows.map((row) => expected.list(row, 3)).filter(([, path]) => path !== null);
  return fromRows(
    root,
    pages.map(([route, path, bytes]) => ({
      path: expected.text(path),
      bytes: expected.count(bytes),
      route: expected.text(route),
    })),
  );
}

function fromFiles(root: string, rows: readonly Json[]): DocsInputs {
  const files = rows.map((row) => expected.list(row, 3));
  return fromRows(
    root,
    files.map(([path, bytes]) => ({ path: expected.text(path), bytes: expected.count(bytes), route: null })),
  );
}

function fromRows(root: string, files: readonly Omit<DocumentFile, 'digest_at'>[]): DocsInputs {
  const documents = files
    .map((file, digest_at) => ({ ...file, digest_at }))
    .filter(({ path }) => isDocument(path));
  return { root, documents, left_out: files.length - documents.length, digests: files.length };
}

function fromPart(root: string, row: Json | undefined): DocsInputs {
  const [path, bytes, , offset] = expected.list(row, 5);
  if (isDocument(expected.text(path))) {
    throw new FailShard(
      'DOCUMENT_CUT',
      `"${expected.text(path)}" has ${expected.count(bytes)} bytes and was cut, and a part of a document cannot be read without the rest. Raise chunk_size_mb above ${expected.count(bytes) / 1_000_000}, exclude the file, or use the partitioner by_route_map.`,
    );
  }
  return { root, documents: [], left_out: expected.count(offset) === 0 ? 1 : 0, digests: 1 };
}
