import type { Workspace, WorkspaceFile } from '../execute/workspace.js';
import { readWhole } from './file-inputs.js';

/** npm's own limit is far below. */
const manifest_bytes_max = 1_000_000;

/** As long as npm lets a name be, and nothing that a text of JSON could not carry or a log would garble. */
const package_name = /^[^\p{Cc}\p{Cs}]{1,214}$/u;

/** What partitioners read of a package.json. */
export interface Manifest {
  /** Null when it has none, or one that cannot be a name. */
  readonly name: string | null;
  /** Globs of the workspace packages; empty when it has none. */
  readonly workspaces: readonly string[];
  /** Names of `dependencies`, `devDependencies`, `optionalDependencies` and `peerDependencies`. */
  readonly dependencies: readonly string[];
}

/** Reads a package.json. Throws an Error naming the file when it is no JSON object, is too large, or lists workspaces that are no globs. */
export async function readManifest(
  workspace: Workspace,
  root: string,
  file: WorkspaceFile,
): Promise<Manifest> {
  const refuse = (what: string): Error =>
    new Error(`${JSON.stringify(file.path)} ${what}. Mend it, or leave it out with "exclude".`);
  if (file.bytes > manifest_bytes_max) throw refuse(`is larger than ${manifest_bytes_max} bytes`);
  const content = parseObject((await readWhole(workspace, root, file)).toString('utf8'));
  if (content === null) throw refuse('is not a JSON object');

  const { name, workspaces: listed = [] } = content;
  const workspaces = Array.isArray(listed) ? listed : (record(listed).packages ?? []);
  if (!Array.isArray(workspaces) || !workspaces.every((glob) => typeof glob === 'string')) {
    throw refuse('has "workspaces" that are no list of globs');
  }
  const kinds = ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies'];
  return {
    name: typeof name === 'string' && package_name.test(name) ? name : null,
    workspaces,
    dependencies: [...new Set(kinds.flatMap((kind) => Object.keys(record(content[kind]))))],
  };
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text.replace(/^\uFEFF/, ''));
    return isRecord(value) ? value : null;
  } catch {
    return null;
  }
}

function record(value: unknown): Record<string, unknown> {
  return isRecord(value) ? value : {};
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
