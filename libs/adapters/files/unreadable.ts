import { WorkspacePathError } from '#hxo/execute';

/** File system errors that another try will not mend, and what to do about them. */
const remedies: Readonly<Record<string, string>> = {
  ENOENT: 'is no longer there. Submit the plan again.',
  ENOTDIR: 'is no longer there. Submit the plan again.',
  ELOOP: 'is a symbolic link, which is not followed. Submit the plan again.',
  ENXIO: 'is not a regular file. Submit the plan again.',
  EACCES: 'may not be read by HXO. Change its permissions, or leave it out with "exclude".',
  EPERM: 'may not be read by HXO. Change its permissions, or leave it out with "exclude".',
};

/** Does something with a path; a failure that lies in the path itself becomes a {@link WorkspacePathError}. */
export function reading<Result>(path: string, act: () => Result): Result {
  try {
    return act();
  } catch (error) {
    const remedy = remedies[(error as NodeJS.ErrnoException).code ?? ''];
    if (remedy === undefined) throw error;
    throw new WorkspacePathError(`${JSON.stringify(path)} ${remedy}`, { cause: error });
  }
}
