import type { Digest, Json } from '#truth';
import type { Workspace, WorkspaceFile } from '../execute/workspace.js';
import { wholeNumber } from '../plan/config-fields.js';
import { parseFields, type ConfigFields } from '../plan/stage-config.js';
import {
  bin_files_max,
  bytes_per_mb,
  chunk_size_mb,
  file_fields,
  type ByFilesizeConfig,
} from './by-filesize.js';
import { cutIntoBins } from './by-filesize-bins.js';
import type { Partitioner, PartitionSummary, ShardDraft } from './contract.js';
import { fileRow } from './file-inputs.js';
import { fileGraph, packageGraph } from './import-graph.js';
import { layersOf } from './import-layers.js';
import { ImportProcess } from './import-process.js';
import type { ImportReader } from './import-reader.js';
import { hashModule, type HashedModule } from './module-digest.js';
import { listModules, type Module } from './module-listing.js';

/** `config` of a stage, with its defaults filled in. */
export interface ByDagDepthConfig extends Omit<ByFilesizeConfig, 'total_files'> {
  /** Null is all. */
  readonly max_depth: number | null;
}

const fields: ConfigFields<ByDagDepthConfig> = {
  ...file_fields,
  max_depth: wholeNumber(null, {
    least: 1,
    meaning:
      'take so many layers, from the one that imports nothing; modules of deeper ones are counted as `truncated`',
    default_text: 'all layers',
  }),
  chunk_size_mb,
};

/**
 * Makes a wave of each layer of the import graph: depth 0 imports nothing of the listing, and what is at depth d imports
 * at least one module at depth d-1 and none deeper; modules that import each other are at one depth. The modules are the
 * npm workspace packages of the package.json in `root`, else the JavaScript and TypeScript files.
 *
 *     {"root": ".", "depth": 1, "modules": [{"name": "@x/a", "path": "packages/a", "digest": "…"}], "files": [["packages/a/index.ts", 120, 0], …]}
 *
 * `modules` are those that `files` are of, in their order; a large package goes on in the next shard. A file larger than
 * `chunk_size_mb` is alone in its shard, and whole. `digest` is as in by_module, `input_digests` as in by_filesize.
 *
 * @param openReader opens what parses the sources; it is closed when the graph is known
 */
export function dagDepth(openReader: () => ImportReader): Partitioner<ByDagDepthConfig> {
  return {
    name: 'by_dag_depth',
    fields,
    cap: 'max_depth',
    parse: (config) => parseFields('by_dag_depth', fields, config),
    partition: (config, { workspace }) => partition(config, workspace, openReader),
  };
}

export const byDagDepth = dagDepth(() => new ImportProcess());

async function* partition(
  config: ByDagDepthConfig,
  workspace: Workspace,
  openReader: () => ImportReader,
): AsyncGenerator<ShardDraft, PartitionSummary> {
  const { files, packages } = await listModules(workspace, config);
  const { modules, edges } =
    packages === null
      ? await fileGraph(workspace, config.root, files, openReader())
      : await packageGraph(workspace, config.root, packages, openReader());
  const layers = inLayers(modules, layersOf(edges));
  const taken = layers.slice(0, config.max_depth ?? layers.length);
  for (const [depth, layer] of taken.entries()) yield* shardsOf(workspace, config, depth, layer);
  const count = taken.reduce((sum, layer) => sum + layer.length, 0);
  return { matched: modules.length, taken: count, truncated: modules.length - count };
}

/** No layer is empty: what lies on one imports from the one below. Each keeps the order of the modules. */
function inLayers(modules: readonly Module[], depths: Int32Array): Module[][] {
  const layers: Module[][] = [];
  for (const [i, module] of modules.entries()) (layers[depths[i]!] ??= []).push(module);
  return layers;
}

async function* shardsOf(
  workspace: Workspace,
  { root, chunk_size_mb: chunk_mb }: ByDagDepthConfig,
  depth: number,
  layer: readonly Module[],
): AsyncGenerator<ShardDraft, void> {
  const bytes_max = Math.round(chunk_mb * bytes_per_mb);
  const entries = layer.flatMap((module) => module.files.map((file, at) => ({ module, file, at })));
  // No file counts for more than a bin, so that none is cut.
  const sized = entries.map(({ file: { path, bytes } }) => ({ path, bytes: Math.min(bytes, bytes_max) }));
  let open: { readonly module: Module; readonly hashed: HashedModule } | undefined;
  for (const bin of cutIntoBins(sized, { bytes: bytes_max, files: bin_files_max })) {
    if ('file' in bin) throw new Error('A file that fits was cut.');
    const modules: Json[] = [];
    const files: WorkspaceFile[] = [];
    const input_digests: Digest[] = [];
    for (const { module, file, at } of entries.slice(bin.from, bin.to)) {
      if (open?.module !== module) open = { module, hashed: await hashModule(workspace, root, module) };
      if (files.length === 0 || at === 0) modules.push(describe(module, open.hashed));
      files.push(file);
      input_digests.push(open.hashed.digests[at]!);
    }
    yield {
      wave: depth,
      weight: Math.max(1, files.reduce((sum, { bytes }) => sum + bytes, 0)), // prettier-ignore
      inputs: { root, depth, modules, files: files.map(fileRow) },
      input_digests,
    };
  }
}

function describe({ name, path }: Module, { digest }: HashedModule): Json {
  return { name, path, digest };
}
