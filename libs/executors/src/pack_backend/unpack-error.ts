/** Thrown when packs cannot be restored: something is damaged, missing or hostile. Names file and pack. */
export class UnpackError extends Error {
  override readonly name = 'UnpackError';
}

/** Thrown when nothing can be restored into the folder that was named. No file was written. */
export class FolderUnusable extends UnpackError {}
