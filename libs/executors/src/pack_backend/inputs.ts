import { FailShard, type Json } from '#hxo/execute';

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

/** Reads the inputs that by_filesize and by_module make. Throws {@link FailShard} on any other shape. */
export function parseInputs(inputs: Json): PackInputs {
  const { root, files, part } = (isRecord(inputs) ? inputs : {}) as Record<string, Json | undefined>;
  if (typeof root === 'string') {
    if (Array.isArray(files)) return { root, entries: files.map(wholeFile), part: false };
    if (part !== undefined) return { root, entries: [rangeOfFile(part)], part: true };
  }
  throw badInputs();
}

function wholeFile(row: Json): PackedFile {
  const [path, bytes, mode] = fieldsOf(row, 3);
  return {
    path: text(path),
    total_bytes: count(bytes),
    executable: count(mode) === 1,
    offset: 0,
    length: count(bytes),
  };
}

function rangeOfFile(row: Json): PackedFile {
  const [path, total, mode, offset, length] = fieldsOf(row, 5);
  const range = { offset: count(offset), length: count(length), total_bytes: count(total) };
  if (range.offset + range.length > range.total_bytes) throw badInputs();
  return { path: text(path), executable: count(mode) === 1, ...range };
}

function fieldsOf(row: Json, length: number): readonly Json[] {
  if (!Array.isArray(row) || row.length !== length) throw badInputs();
  return row as readonly Json[];
}

function text(value: Json | undefined): string {
  if (typeof value !== 'string' || value === '') throw badInputs();
  return value;
}

function count(value: Json | undefined): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw badInputs();
  return value as number;
}

function isRecord(value: Json): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function badInputs(): FailShard {
  return new FailShard(
    'BAD_INPUTS',
    'pack_backend packs {root, files: [[path, bytes, mode], …]} or {root, part: [path, bytes, mode, offset, length]}. Use the partitioner by_filesize or by_module.',
  );
}
