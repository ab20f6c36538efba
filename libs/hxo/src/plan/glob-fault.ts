import picomatch from 'picomatch';
import { normalGlob } from './globs.js';

/** What is wrong with a glob that no file of a listing could ever match, in words that follow the glob; null when nothing is. */
export function globFault(glob: string): string | null {
  if (glob.startsWith('/')) return 'is absolute. Globs are relative to "root": leave the first "/" out.';
  if (glob.includes('\0')) return 'holds a NUL character. Remove it.';
  if (/^!(?!\()/.test(glob)) return 'begins with "!". Put it into "exclude" without it, or write "\\!".';
  if (glob.split(/[/{},|()]/).includes('..'))
    return 'leaves its root with "..". Set "root" to the folder that is meant.';
  const path = normalGlob(glob);
  if (path === '' || path === '.') return 'names its root itself. Use "**" for all of it.';
  if (/(^|\/)\.?(\/|$)/.test(path)) return 'has an empty or "." folder name, which no path has. Remove it.';
  try {
    return picomatch.makeRe(path, { dot: true, nonegate: true, strictBrackets: true }).source === '$^'
      ? 'is not a glob that anything can match. Check its brackets.'
      : unopenedBrace(path);
  } catch (error) {
    return `is malformed: ${(error as Error).message}.`;
  }
}

/** Picomatch tells of every bracket without its partner but this one. */
function unopenedBrace(glob: string): string | null {
  let depth = 0;
  for (const [token] of glob.matchAll(/\\.|\[!?\^?\]?[^\]]*\]|[{}]/gs)) {
    if (token === '{') depth++;
    if (token === '}' && --depth < 0)
      return 'is malformed: Missing opening: "{" - use "\\}" to match a literal character.';
  }
  return null;
}
