import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmdirSync,
  statSync,
} from 'node:fs';
import { dirname, join, sep } from 'node:path';
import { SettingsError, type Problem } from './reader.js';
import type { Program, Settings } from './settings.js';
import type { VariableName } from './variables.js';

/**
 * Makes the folders that a program writes to, and looks whether they, the log file and the workspace can be used.
 *
 * Throws {@link SettingsError} listing every variable that names a place of no use.
 */
export function preparePlaces(settings: Settings, program: Program): void {
  const problems: Problem[] = [];
  const attempt = (variable: VariableName, path: string, use: () => void, allowed: string): void => {
    // What lies inside a folder that was told already has no trouble of its own.
    if (problems.some(({ value }) => value !== null && `${path}${sep}`.startsWith(`${value}${sep}`))) return;
    try {
      use();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // A full disk may be freed while the program runs, and is told of by readiness.
      if (code === 'ENOSPC' || code === 'EDQUOT') return;
      problems.push({
        variable,
        value: path,
        allowed: `${reasons[code ?? ''] ?? String(error)}; ${allowed}`,
      });
    }
  };
  const folder = (variable: VariableName, path: string): void =>
    attempt(variable, path, () => tryFolder(path), 'name a folder that HXO may make and write to.');

  if (program === 'server') {
    folder('HXO_HOME', settings.home);
    folder('HXO_DB_PATH', dirname(settings.db_path));
    // A key that is there is only read: it may well lie in a read-only folder of secrets.
    if (!existsSync(settings.signing_key_file))
      folder('HXO_SIGNING_KEY_FILE', dirname(settings.signing_key_file));
  }
  folder('HXO_ARTIFACTS_DIR', settings.artifacts_dir);
  const { log_file, workspace } = settings;
  if (log_file !== null) {
    attempt(
      'HXO_LOG_FILE',
      log_file,
      () => tryFile(log_file),
      'name a file that HXO may write, or set it empty for none.',
    );
  }
  attempt('HXO_WORKSPACE', workspace, () => tryReading(workspace), 'name the folder that plans are to read.');
  if (problems.length > 0) throw new SettingsError(problems);
}

const reasons: Readonly<Record<string, string>> = {
  EACCES: 'this user has no permission there',
  EPERM: 'this user has no permission there',
  EROFS: 'its file system is read-only',
  ENOENT: 'there is no such folder',
  EEXIST: 'a file stands where a folder is wanted',
  ENOTDIR: 'a file stands where a folder is wanted',
  EISDIR: 'a folder stands where a file is wanted',
};

function isFolder(path: string): boolean {
  return existsSync(path) && statSync(path).isDirectory();
}

/** Level by level: Node's recursive mkdir never returns below /proc, where a folder is there and takes no other. */
function makeFolder(path: string): void {
  if (isFolder(path)) return;
  if (dirname(path) !== path) makeFolder(dirname(path));
  try {
    mkdirSync(path);
  } catch (error) {
    // Another process may have made it just now.
    if (!isFolder(path)) throw error;
  }
}

function tryFolder(path: string): void {
  makeFolder(path);
  // Permissions tell too little: root has them all, and a read-only file system keeps its own counsel.
  rmdirSync(mkdtempSync(join(path, '.tried-')));
}

function tryFile(path: string): void {
  makeFolder(dirname(path));
  closeSync(openSync(path, 'a'));
}

function tryReading(path: string): void {
  if (!isFolder(path))
    throw Object.assign(new Error('no folder'), { code: existsSync(path) ? 'ENOTDIR' : 'ENOENT' });
  accessSync(path, constants.R_OK | constants.X_OK);
}
