/** How picomatch is to read globs: names that begin with a dot are no exception, and `!` is no negation. */
export const glob_options = { dot: true, nonegate: true } as const;

/** A glob as paths are written: without `./` in front and slashes behind. */
export function normalGlob(glob: string): string {
  return glob.replace(/^(\.\/)+/, '').replace(/\/+$/, '');
}

/** For picomatch: what matches a path, or a folder above it. `src` stands for all below src. */
export function patternsOf(globs: readonly string[]): string[] {
  return globs.map(normalGlob).flatMap((pattern) => [pattern, `${pattern}/**`]);
}
