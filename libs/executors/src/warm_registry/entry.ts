import { FailShard, type Digest, type Json } from '#hxo/execute';
import type { ModuleInputs } from './inputs.js';
import { insideModule } from './inside-module.js';
import { subpathsOf, type Subpaths } from './package-exports.js';

/** What stands for a main file that nobody named, the first that there is. */
const index_files = ['js', 'mjs', 'cjs', 'ts', 'mts', 'cts', 'jsx', 'tsx'].map((type) => `index.${type}`);

type Ranges = Readonly<Record<string, string>>;

/** What the registry knows of a module. Paths are relative to it, but for its own. */
export interface RegistryEntry {
  readonly module: string;
  /** Relative to the root of the listing. */
  readonly path: string;
  readonly version: string | null;
  readonly entry_points: {
    /** `main` of package.json, else an index file. */
    readonly main: string | null;
    readonly module: string | null;
    readonly types: string | null;
    /** Where `exports` leads without a subpath. */
    readonly exports: readonly string[];
    /** Command → file. */
    readonly bin: Ranges;
  };
  readonly exports: Subpaths;
  readonly dependencies: Ranges;
  readonly peer_dependencies: Ranges;
  readonly optional_dependencies: Ranges;
  /** Changes when any file of the module does. */
  readonly digest: Digest;
  /** Number and length of its files; null for a module that was cut into parts, of which none knows them. */
  readonly files: number | null;
  readonly bytes: number | null;
}

/**
 * The registry entry of a module.
 * @param manifest the text of its package.json; null when it has none
 * @throws FailShard `MANIFEST_INVALID`
 */
export function registryEntry(inputs: ModuleInputs, manifest: string | null): RegistryEntry {
  const read = manifest === null ? {} : parseManifest(manifest, inputs);
  const whole = inputs.count === 1;
  const exports = exportsOf(read, inputs);
  return {
    module: inputs.name,
    path: inputs.path,
    version: text(read.version),
    entry_points: {
      main: insideModule(read.main) ?? indexFile(inputs),
      module: insideModule(read.module),
      types: insideModule(read.types) ?? insideModule(read.typings),
      exports: exports['.'] ?? [],
      bin: binOf(read.bin, inputs.name),
    },
    exports,
    dependencies: rangesOf(read.dependencies),
    peer_dependencies: rangesOf(read.peerDependencies),
    optional_dependencies: rangesOf(read.optionalDependencies),
    digest: inputs.digest,
    files: whole ? inputs.files.length : null,
    bytes: whole ? inputs.files.reduce((sum, { bytes }) => sum + bytes, 0) : null,
  };
}

type Manifest = Readonly<Record<string, Json | undefined>>;

/** npm writes no byte order mark, and takes one. */
function parseManifest(content: string, inputs: ModuleInputs): Manifest {
  try {
    const value = JSON.parse(content.replace(/^\u{feff}/u, '')) as Json;
    if (isRecord(value)) return value;
  } catch {
    // Said below, in words that help.
  }
  throw invalid(inputs, 'is not a JSON object');
}

function exportsOf(manifest: Manifest, inputs: ModuleInputs): Subpaths {
  try {
    return subpathsOf(manifest.exports);
  } catch (error) {
    throw invalid(inputs, error instanceof RangeError ? error.message : String(error));
  }
}

function indexFile({ path, files }: ModuleInputs): string | null {
  const folder = path === '' || path === '.' ? '' : `${path}/`;
  const there = new Set(files.map((file) => file.path));
  return index_files.find((name) => there.has(folder + name)) ?? null;
}

/** A single command is named as the module, without its scope. */
function binOf(bin: Json | undefined, module: string): Ranges {
  const named = typeof bin === 'string' ? { [module.replace(/^@[^/]*\//, '')]: bin } : bin;
  return Object.fromEntries(
    Object.entries(isRecord(named) ? named : {})
      .map(([command, path]) => [command, insideModule(path)] as const)
      .filter((entry): entry is [string, string] => entry[1] !== null && entry[0].isWellFormed()),
  );
}

function rangesOf(value: Json | undefined): Ranges {
  return Object.fromEntries(
    Object.entries(isRecord(value) ? value : {}).filter(
      (entry): entry is [string, string] => entry[0].isWellFormed() && text(entry[1]) !== null,
    ),
  );
}

function text(value: Json | undefined): string | null {
  return typeof value === 'string' && value.isWellFormed() ? value : null;
}

function isRecord(value: Json | undefined): value is { readonly [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function invalid({ manifest, name }: ModuleInputs, what: string): FailShard {
  const path = JSON.stringify(manifest?.path ?? 'package.json');
  return new FailShard(
    'MANIFEST_INVALID',
    `${path} of module ${name} ${what}. Mend it and submit the plan again, or leave the module out.`,
  );
}
