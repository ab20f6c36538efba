import { isDigest, type Digest, type Json } from '#hxo/execute';
import type { NamedFile } from '../read-file.js';
import { ShardInputs } from '../shard-inputs.js';

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

const expected = new ShardInputs(
  'warm_registry registers modules: {root, module: {name, path, digest, manifest, part}, files}. Use the partitioner by_module.',
);

/** Reads the inputs that by_module makes. Throws FailShard on any other shape. */
export function parseInputs(inputs: Json): ModuleInputs {
  const { root, module, files, part } = expected.record(inputs);
  const { name, path, digest, manifest, part: numbered } = expected.record(module);
  const [index, count] = expected.list(numbered).map((number) => expected.count(number));
  if (index === undefined || count === undefined || index >= count) throw expected.refused();
  if (!Array.isArray(files) && !Array.isArray(part)) throw expected.refused();
  return {
    root: expected.text(root),
    name: expected.text(name),
    path: expected.anyText(path),
    digest: digestIn(digest),
    ...{ index, count },
    manifest: manifest === null ? null : manifestOf(manifest),
    files: expected.list(files ?? []).map((row) => expected.file(row)),
  };
}

function manifestOf(row: Json | undefined): ModuleInputs['manifest'] {
  const [, , sha256] = expected.list(row);
  return { ...expected.file(row), sha256: digestIn(sha256) };
}

function digestIn(value: Json | undefined): Digest {
  if (!isDigest(value)) throw expected.refused();
  return value;
}
