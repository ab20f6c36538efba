import type { Workspace, WorkspaceFile } from '../execute/workspace.js';
import { readWhole } from './file-inputs.js';
import type { ImportReader, Source } from './import-reader.js';
import { deepestFolder, type Module } from './module-listing.js';
import { joinImport, packageOf, resolveImport, script_file } from './resolve-import.js';

/** A larger source is taken to be generated: it is not parsed, and imports nothing. */
const source_bytes_max = 5_000_000;
/** Sources that are read ahead of the parser: so many, of so many bytes, but always one. */
const batch_sources_max = 64;
const batch_bytes_max = 2_000_000;

/** Modules, and for each the numbers of those that it imports. */
export interface ImportGraph {
  readonly modules: readonly Module[];
  readonly edges: readonly (readonly number[])[];
}

interface Numbered {
  readonly file: WorkspaceFile;
  readonly node: number;
}

/** The graph of workspace packages: what their sources import, and what their package.json files depend on. */
export async function packageGraph(
  workspace: Workspace,
  root: string,
  modules: readonly Module[],
  reader: ImportReader,
): Promise<ImportGraph> {
  const by_name = new Map(modules.map(({ name }, node) => [name, node]));
  const owner = deepestFolder(new Map(modules.map(({ path }, node) => [path, node])));
  const edges = modules.map(({ dependencies }) => new Set(dependencies.map((name) => by_name.get(name))));
  const sources = modules.flatMap(({ files }, node) =>
    files.filter(isScript).map((file) => ({ file, node })),
  );
  await readImports(workspace, root, sources, reader, ({ file, node }, specifier) => {
    const path = joinImport(file.path, specifier);
    // Whatever a path leads to inside a package counts, even a file that is only built later.
    edges[node]!.add(path === null ? by_name.get(packageOf(specifier)) : owner(path + '/'));
  });
  return { modules, edges: edges.map((targets) => [...targets].filter((node) => node !== undefined)) };
}

/** The graph of source files, each a module of its own that is named by its path. */
export async function fileGraph(
  workspace: Workspace,
  root: string,
  files: readonly WorkspaceFile[],
  reader: ImportReader,
): Promise<ImportGraph> {
  const sources = files.filter(isScript).map((file, node) => ({ file, node }));
  const by_path = new Map(sources.map(({ file, node }) => [file.path, node]));
  const edges: number[][] = sources.map(() => []);
  await readImports(workspace, root, sources, reader, ({ file, node }, specifier) => {
    const target = resolveImport(file.path, specifier, (path) => by_path.has(path));
    if (target !== null) edges[node]!.push(by_path.get(target)!);
  });
  const modules = sources.map(({ file }) => ({
    name: file.path,
    path: file.path,
    manifest: null,
    dependencies: [],
    files: [file],
  }));
  return { modules, edges };
}

function isScript({ path }: WorkspaceFile): boolean {
  return script_file.test(path);
}

/** Reads the next sources while the last are being parsed; no more of their texts are in memory at a time. */
async function readImports(
  workspace: Workspace,
  root: string,
  sources: readonly Numbered[],
  reader: ImportReader,
  onImport: (source: Numbered, specifier: string) => void,
): Promise<void> {
  let parsing = Promise.resolve();
  const parse = async (batch: Batch): Promise<void> => {
    for (const [i, specifiers] of (await reader.read(batch.texts)).entries()) {
      for (const specifier of specifiers) onImport(batch.sources[i]!, specifier);
    }
  };
  try {
    for await (const batch of batches(workspace, root, sources)) {
      await parsing;
      parsing = parse(batch);
      // Should reading fail first, nobody waits for this one.
      parsing.catch(() => undefined);
    }
    await parsing;
  } finally {
    reader.close();
  }
}

interface Batch {
  readonly sources: Numbered[];
  readonly texts: Source[];
}

async function* batches(
  workspace: Workspace,
  root: string,
  sources: readonly Numbered[],
): AsyncGenerator<Batch, void> {
  let batch: Batch = { sources: [], texts: [] };
  let bytes = 0;
  for (const source of sources) {
    const { file } = source;
    if (file.bytes > source_bytes_max) continue;
    const full = batch.texts.length === batch_sources_max || bytes + file.bytes > batch_bytes_max;
    if (full && batch.texts.length > 0) {
      yield batch;
      batch = { sources: [], texts: [] };
      bytes = 0;
    }
    batch.sources.push(source);
    batch.texts.push({ path: file.path, text: (await readWhole(workspace, root, file)).toString('utf8') });
    bytes += file.bytes;
  }
  if (batch.texts.length > 0) yield batch;
}
