import ignore, { type Ignore } from 'ignore';

/** Which paths the .gitignore files from the workspace down to one folder leave out (gitignore(5)). */
export interface GitignoreRules {
  /** True when a path relative to the workspace is ignored. A folder's path ends in `/`. */
  ignores(path: string): boolean;
  /** The rules of a folder below, whose own .gitignore has this text. `folder` is `''` or ends in `/`. */
  below(folder: string, gitignore: string): GitignoreRules;
}

/** The rules before any .gitignore was read: nothing is ignored. */
export const noGitignore: GitignoreRules = {
  ignores: () => false,
  below: (folder, gitignore) => extend(undefined, folder, gitignore),
};

/**
 * A nested .gitignore adds its patterns, rebased to the workspace, behind those of the folders above: the last pattern
 * that matches wins, which is git's order of precedence. A folder has only its ancestors' patterns to test.
 */
function extend(above: Ignore | undefined, folder: string, gitignore: string): GitignoreRules {
  const rules = ignore({ ignorecase: false });
  if (above !== undefined) rules.add(above);
  rules.add(rebase(folder, gitignore));
  return {
    ignores: (path) => rules.ignores(path),
    below: (deeper, text) => extend(rules, deeper, text),
  };
}

function rebase(folder: string, gitignore: string): string[] {
  const prefix = '/' + folder.replace(/[\\*?[\]]/g, '\\$&');
  const rebased: string[] = [];
  for (const line of gitignore.replace(/^\uFEFF/, '').split(/\r?\n/)) {
    if (line === '' || line.startsWith('#')) continue;
    const negated = line.startsWith('!');
    const pattern = negated ? line.slice(1) : line;
    // A slash anywhere but at the end ties a pattern to the folder of its .gitignore; without one it holds at any depth.
    const slash = pattern.trimEnd().indexOf('/');
    if (slash === 0 && pattern.trimEnd() === '/') continue;
    const tied = slash !== -1 && slash < pattern.trimEnd().length - 1;
    const place = tied
      ? prefix + pattern.replace(/^\//, '')
      : `${prefix}**/${pattern.replace(/^\\(?=[!#])/, '')}`;
    rebased.push((negated ? '!' : '') + place);
  }
  return rebased;
}
