import type { Json } from '#hxo/execute';
import { ShardInputs } from '../shard-inputs.js';

/** A file, or a range of one, that goes into a pack as one tar entry. */
export interface PackedFile {
  /** Relative to the root of the listing. */
  readonly path: string;
  /** Length of the whole file. */
  readonly total_bytes: number;
  readonly executable: boolean;
  readonly offset: number;
  readonly length: number;
}

/** What one shard packs. */
export interface PackInputs {
  readonly root: string;
  /** Whole files, or one range. */
  readonly entries: readonly PackedFile[];
  /** True when the one entry is a range of a file that was too large for one shard. */
  readonly part: boolean;
}

const expected = new ShardInputs(
  'pack_backend packs {root, files: [[path, bytes, mode], …]} or {root, part: [path, bytes, mode, offset, length]}. Use the partitioner by_filesize or by_module.',
);

/** Reads the inputs that by_filesize and by_module make. Throws FailShard on any other shape. */
export function parseInputs(inputs: Json): PackInputs {
  const { root, files, part } = expected.record(inputs);
  const base = expected.anyText(root);
  if (Array.isArray(files)) return { root: base, entries: files.map(wholeFile), part: false };
  return { root: base, entries: [rangeOfFile(part)], part: true };
}

function wholeFile(row: Json): PackedFile {
  const [path, bytes, mode] = expected.list(row, 3);
  return {
    path: expected.text(path),
    total_bytes: expected.count(bytes),
    executable: expected.count(mode) === 1,
    offset: 0,
    length: expected.count(bytes),
  };
}

function rangeOfFile(row: Json | undefined): PackedFile {
  const [path, total, mode, offset, length] = expected.list(row, 5);
  const range = {
    offset: expected.count(offset),
    length: expected.count(length),
    total_bytes: expected.count(total),
  };
  if (range.offset + range.length > range.total_bytes) throw expected.refused();
  return { path: expected.text(path), executable: expected.count(mode) === 1, ...range };
}
