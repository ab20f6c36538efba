import type { Digest, Json } from '#truth';
import type { Workspace } from '../execute/workspace.js';
import { field } from '../plan/config-fields.js';
import { ConfigError, parseFields, type ConfigFields } from '../plan/stage-config.js';
import {
  bin_files_max,
  bytes_per_mb,
  chunk_size_mb,
  file_fields,
  type ByFilesizeConfig,
} from './by-filesize.js';
import { cutIntoBins } from './by-filesize-bins.js';
import type { Partitioner, PartitionSummary, ShardDraft } from './contract.js';
import { digestFile, fileRow, modeOf } from './file-inputs.js';
import { hashModule, type HashedModule } from './module-digest.js';
import { listModules, withFiles, type Module, type ModuleListing } from './module-listing.js';

const modules_max = 10_000;
const module_chars_max = 4096;
/** Known modules that an error lists. */
const known_max = 20;

/** Names of files that make a folder a source folder. */
const source_file =
  /\.(?:[cm]?[jt]sx?|vue|svelte|py|rb|php|go|rs|java|kts?|scala|groovy|cs|fs|swift|c|cc|cpp|cxx|h|hh|hpp|mm?|ex|exs|erl|hs|ml|clj|dart|lua|pl|r|jl|sql|sh)$/i;

/** `config` of a stage, with its defaults filled in. */
export interface ByModuleConfig extends Omit<ByFilesizeConfig, 'total_files'> {
  /** Names or paths; null is all that are found. */
  readonly modules: readonly string[] | null;
}

const fields: ConfigFields<ByModuleConfig> = {
  ...file_fields,
  modules: field<readonly string[] | null>(
    null,
    {
      meaning: `take these modules only: names, or paths relative to \`root\`; ${modules_max.toLocaleString('en')} at most`,
      default_text: 'all that are found',
    },
    (value, name) => {
      const isModule = (module: Json): module is string =>
        typeof module === 'string' && module !== '' && module.length <= module_chars_max;
      if (Array.isArray(value) && value.length > 0 && value.length <= modules_max && value.every(isModule))
        return value;
      throw new ConfigError(
        name,
        `${name} must be a list of 1 to ${modules_max} names or paths of modules. Leave it out for all.`,
      );
    },
  ),
  chunk_size_mb,
};

/**
 * Makes a shard of each module, in bytewise order of their names: the npm workspace packages of the package.json in
 * `root`, else the folders directly in `root` that hold source files, at whatever depth (but for `node_modules` and those
 * whose name begins with a dot). What no module contains, such as files directly in `root`, is in no shard.
 *
 * A module that is too large for one shard is cut as by_filesize cuts, into n parts; `part` of the module is `[i, n]`,
 * i from 0. A shard's inputs are either
 *
 *     {"root": ".", "module": {…, "part": [0, 1]}, "files": [["packages/a/index.ts", 120, 0], …]}
 *     {"root": ".", "module": {…, "part": [1, 4]}, "part": ["packages/a/model.bin", 25000000, 0, 10000000, 10000000]}
 *
 * where the module is `{name, path, digest, manifest, part}`; `digest` stands for all files of the module, and `manifest`
 * is `[path, bytes, sha256]` of its package.json, or null. `input_digests` are those of by_filesize. An edit changes the
 * shard that holds the file, and where a module is cut, the module's other parts, for they tell its digest.
 */
export const byModule: Partitioner<ByModuleConfig> = {
  name: 'by_module',
  fields,
  parse: (config) => parseFields('by_module', fields, config),
  partition,
};

async function* partition(
  config: ByModuleConfig,
  { workspace }: { readonly workspace: Workspace },
): AsyncGenerator<ShardDraft, PartitionSummary> {
  const listing = await listModules(workspace, config);
  const found = listing.packages ?? sourceFolders(listing);
  const modules = config.modules === null ? found : select(found, config.modules);
  for (const module of modules) yield* shardsOf(workspace, config, module);
  return { matched: modules.length, taken: modules.length, truncated: 0 };
}

function sourceFolders({ files, manifests }: ModuleListing): Module[] {
  const topOf = (path: string): string => path.slice(0, Math.max(0, path.indexOf('/')));
  const names = new Set(files.filter(({ path }) => source_file.test(path)).map(({ path }) => topOf(path)));
  const modules = [...names]
    .filter((name) => name !== '' && !name.startsWith('.') && name !== 'node_modules')
    .map((name) => ({
      name,
      path: name,
      manifest: manifests.get(`${name}/package.json`) ?? null,
      dependencies: [],
    }));
  return withFiles(modules, files);
}

/** A name goes before a path. Throws ConfigError for what is neither. */
function select(found: readonly Module[], wanted: readonly string[]): readonly Module[] {
  const by_path = new Map(found.map((module) => [module.path, module]));
  const by_name = new Map(found.map((module) => [module.name, module]));
  const chosen = new Set<Module>();
  for (const text of wanted) {
    const path = text.split('/').filter((part) => part !== '' && part !== '.').join('/'); // prettier-ignore
    const module = by_name.get(text) ?? by_path.get(path);
    if (module === undefined) throw unknownModule(text, found);
    chosen.add(module);
  }
  return found.filter((module) => chosen.has(module));
}

function unknownModule(text: string, found: readonly Module[]): ConfigError {
  const known = found
    .slice(0, known_max)
    .map(({ name, path }) => (name === path ? name : `${name} (${path})`));
  const more = found.length > known_max ? ` and ${found.length - known_max} more` : '';
  const choice = found.length === 0 ? 'There are none.' : `There are ${known.join(', ')}${more}.`;
  return new ConfigError('modules', `modules names ${JSON.stringify(text)}, which is no module. ${choice}`);
}

async function* shardsOf(
  workspace: Workspace,
  { root, chunk_size_mb: chunk_mb }: ByModuleConfig,
  module: Module,
): AsyncGenerator<ShardDraft, void> {
  const bytes = Math.round(chunk_mb * bytes_per_mb);
  const bins = [...cutIntoBins(module.files, { bytes, files: bin_files_max })];
  const hashed = await hashModule(workspace, root, module, bytes);
  const about = await describe(workspace, root, module, hashed);
  for (const [i, bin] of bins.entries()) {
    const inputs = { root, module: { ...about, part: [i, bins.length] } };
    if ('file' in bin) {
      const file = module.files[bin.file]!;
      const part = [file.path, file.bytes, modeOf(file), bin.offset, bin.length];
      const digest = hashed.ranges.get(bin.file)![bin.offset / bytes]!;
      yield { wave: 0, weight: bin.length, inputs: { ...inputs, part }, input_digests: [digest] };
      continue;
    }
    const files = module.files.slice(bin.from, bin.to);
    yield {
      wave: 0,
      weight: Math.max(1, files.reduce((sum, file) => sum + file.bytes, 0)), // prettier-ignore
      inputs: { ...inputs, files: files.map(fileRow) },
      input_digests: hashed.digests.slice(bin.from, bin.to),
    };
  }
}

async function describe(
  workspace: Workspace,
  root: string,
  { name, path, manifest, files }: Module,
  { digest, digests }: HashedModule,
): Promise<Readonly<Record<string, Json>>> {
  if (manifest === null) return { name, path, digest, manifest: null };
  const listed = files.findIndex((file) => file.path === manifest.path);
  const own: Digest = listed < 0 ? await digestFile(workspace, root, manifest) : digests[listed]!;
  return { name, path, digest, manifest: [manifest.path, manifest.bytes, own] };
}
