import type { Digest, Json } from '#truth';
import type { Workspace, WorkspaceFile } from '../execute/workspace.js';

/** A whole file as it stands in a shard's inputs: path, bytes, and 1 when it is executable. */
export function fileRow(file: WorkspaceFile): Json {
  return [file.path, file.bytes, modeOf(file)];
}

export function modeOf(file: WorkspaceFile): 0 | 1 {
  return file.executable ? 1 : 0;
}

/** SHA-256 of a whole file. Throws what the workspace throws when it has changed since it was listed. */
export function digestFile(workspace: Workspace, root: string, file: WorkspaceFile): Promise<Digest> {
  return digestRange(workspace, root, file, 0, file.bytes);
}

/** SHA-256 of a range of a file. */
export function digestRange(
  workspace: Workspace,
  root: string,
  file: WorkspaceFile,
  offset: number,
  length: number,
): Promise<Digest> {
  return workspace.digest({ root, path: file.path, expected_bytes: file.bytes, offset, length });
}

/** A whole file in memory. The caller has looked at its size. */
export async function readWhole(workspace: Workspace, root: string, file: WorkspaceFile): Promise<Buffer> {
  const range = { root, path: file.path, expected_bytes: file.bytes, offset: 0, length: file.bytes };
  const chunks: Uint8Array[] = [];
  for await (const chunk of workspace.read(range)) chunks.push(chunk);
  return Buffer.concat(chunks);
}
