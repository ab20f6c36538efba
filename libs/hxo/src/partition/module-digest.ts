import { canonicalJson, sha256Stream, type Digest } from '#truth';
import type { Workspace, WorkspaceFile } from '../execute/workspace.js';
import type { Module } from './module-listing.js';
import { digestFile } from './file-inputs.js';

/** What a module's content comes to. */
export interface HashedModule {
  /** SHA-256 of the canonical JSON of `[[path, sha256], …]` over all its files, in path order. */
  readonly digest: Digest;
  /** SHA-256 of each of its files. */
  readonly digests: readonly Digest[];
  /** SHA-256 of the ranges of each file that was cut, by the file's index. */
  readonly ranges: ReadonlyMap<number, readonly Digest[]>;
}

/**
 * Hashes all files of a module, each read once. Throws what the workspace throws when one has changed since it was listed.
 * @param range_bytes files larger than this also get a digest for each range of so many bytes
 */
export async function hashModule(
  workspace: Workspace,
  root: string,
  { files }: Pick<Module, 'files'>,
  range_bytes = Infinity,
): Promise<HashedModule> {
  const all = sha256Stream();
  const digests: Digest[] = [];
  const ranges = new Map<number, readonly Digest[]>();
  all.update(Buffer.from('['));
  for (const [i, file] of files.entries()) {
    let digest: Digest;
    if (file.bytes > range_bytes) {
      const cut = await digestRanges(workspace, root, file, range_bytes);
      digest = cut.whole;
      ranges.set(i, cut.ranges);
    } else {
      digest = await digestFile(workspace, root, file);
    }
    digests.push(digest);
    all.update(Buffer.from((i === 0 ? '' : ',') + canonicalJson([file.path, digest])));
  }
  all.update(Buffer.from(']'));
  return { digest: all.digest(), digests, ranges };
}

/** SHA-256 of a file and of its ranges, in one pass. */
async function digestRanges(
  workspace: Workspace,
  root: string,
  file: WorkspaceFile,
  range_bytes: number,
): Promise<{ readonly whole: Digest; readonly ranges: readonly Digest[] }> {
  const whole = sha256Stream();
  const ranges: Digest[] = [];
  let range = sha256Stream();
  let left = range_bytes;
  const read = { root, path: file.path, expected_bytes: file.bytes, offset: 0, length: file.bytes };
  for await (const chunk of workspace.read(read)) {
    whole.update(chunk);
    for (let at = 0; at < chunk.length;) {
      const piece = chunk.subarray(at, at + left);
      range.update(piece);
      at += piece.length;
      left -= piece.length;
      if (left > 0) continue;
      ranges.push(range.digest());
      range = sha256Stream();
      left = range_bytes;
    }
  }
  if (left < range_bytes) ranges.push(range.digest());
  return { whole: whole.digest(), ranges };
}
