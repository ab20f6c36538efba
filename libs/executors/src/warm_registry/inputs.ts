import { FailShard, isDigest, type Digest, type Json } from '#hxo/execute';
import type { NamedFile } from '../read-file.js';

/** A module, or a part of one, as by_module describes it. */
export interface ModuleInputs {
  readonly root: string;
  readonly name: string;
  /** Relative to the root; `.` or empty is the root itself. */
  readonly path: string;
  /** Stands for the content of all its files. */
  readonly digest: Digest;
  /** Its package.json, or null. */
  readonly manifest: (NamedFile & { readonly sha256: Digest }) | null;
  /** This is part `index` of `count`. */
  readonly index: number;
  readonly count: number;
  /** Whole files of this part; none when the part is a range of a large file. */
  readonly files: readonly NamedFile[];
}

/** Reads the inputs that by_module makes. Throws {@link FailShard} on any other shape. */
export function parseInputs(inputs: Json): ModuleInputs {
  const { root, module, files, part } = recordOf(inputs);
  const { name, path, digest, manifest, part: numbered } = recordOf(module);
  const [index, count] = listOf(numbered);
  if (!isText(root) || !isText(name) || typeof path !== 'string' || !isDigest(digest)) throw badInputs();
  if (!isCount(index) || !isCount(count) || index >= count) throw badInputs();
  if (!Array.isArray(files) && !Array.isArray(part)) throw badInputs();
  return {
    ...{ root, name, path, digest, index, count },
    manifest: manifest === null ? null : manifestOf(manifest),
    files: listOf(files).map(fileOf),
  };
}

function manifestOf(row: Json | undefined): ModuleInputs['manifest'] {
  const [, , sha256] = listOf(row);
  if (!isDigest(sha256)) throw badInputs();
  return { ...fileOf(row), sha256 };
}

function fileOf(row: Json | undefined): NamedFile {
  const [path, bytes] = listOf(row);
  if (!isText(path) || !isCount(bytes)) throw badInputs();
  return { path, bytes };
}

function listOf(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? (value as readonly Json[]) : [];
}

function recordOf(value: Json | undefined): Readonly<Record<string, Json | undefined>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, Json>>)
    : {};
}

function isText(value: Json | undefined): value is string {
  return typeof value === 'string' && value !== '';
}

function isCount(value: Json | undefined): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function badInputs(): FailShard {
  return new FailShard(
    'BAD_INPUTS',
    'warm_registry registers modules: {root, module: {name, path, digest, manifest, part}, files}. Use the partitioner by_module.',
  );
}
