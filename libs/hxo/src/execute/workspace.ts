import type { Digest } from '#truth';

/** A regular file of the workspace. */
export interface WorkspaceFile {
  /** Relative to the listing's root, `/` between names, no leading `/`. */
  readonly path: string;
  readonly bytes: number;
  readonly executable: boolean;
}

export interface ListingOptions {
  /** Folder to list, relative to the workspace; `.` is the workspace itself. */
  readonly root: string;
  /** Globs relative to `root`; a file must match one. Empty: every file. */
  readonly include: readonly string[];
  /** Globs relative to `root`; a file must match none. */
  readonly exclude: readonly string[];
  /** Honour .gitignore files with git's nested rules. */
  readonly gitignore: boolean;
}

/** Thrown when a path leaves the workspace, or names nothing, or something that is not a regular file or folder. */
export class WorkspacePathError extends Error {
  override readonly name = 'WorkspacePathError';
}

/** Thrown when a file is not what it was when the plan was partitioned. */
export class FileChanged extends Error {
  override readonly name = 'FileChanged';
}

/**
 * The tree that plans read. Nothing outside it can be reached, whatever a path says; HXO's own state, `.git` and
 * `.env*` are never listed nor read; symbolic links, devices, FIFOs and sockets are never followed nor read.
 */
export interface Workspace {
  /**
   * Lists regular files in bytewise path order (by the UTF-8 bytes of the whole relative path).
   * Throws {@link WorkspacePathError} when `root` is not a folder inside the workspace.
   */
  list(options: ListingOptions): Promise<WorkspaceFile[]>;
  /**
   * Reads a range of a file in chunks of at most 1 MiB. With `into`, which is no larger, every chunk lies there and is good
   * only until the next is asked for: it spares memory for each of thousands of files. One reading at a time may use it.
   *
   * Throws {@link WorkspacePathError}, or {@link FileChanged} when the file's size is not `expected_bytes` before and
   * after, or its modification time moves while it is read.
   */
  read(range: FileRange, into?: Buffer): AsyncIterable<Uint8Array>;
  /** SHA-256 of a range of a file. Throws what {@link read} throws. */
  digest(range: FileRange): Promise<Digest>;
}

/** `length` bytes from `offset` of the file `root`/`path`. */
export interface FileRange {
  readonly root: string;
  readonly path: string;
  /** Length of the whole file, as it was listed. */
  readonly expected_bytes: number;
  readonly offset: number;
  readonly length: number;
}
