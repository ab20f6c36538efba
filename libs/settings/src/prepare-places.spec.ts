import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { preparePlaces } from './prepare-places.js';
import { SettingsError, type Environment } from './reader.js';
import { type Program, readSettings } from './settings.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hxo-places-'));
  writeFileSync(join(folder, 'file'), '');
});
afterEach(() => rmSync(folder, { recursive: true }));

function prepare(env: Environment, program: Program = 'server'): void {
  const machine = { cores: 1, readFile: () => '' };
  preparePlaces(readSettings(env, folder, machine), program);
}

function problemsOf(env: Environment, program?: Program): string[] {
  try {
    prepare(env, program);
  } catch (error) {
    if (error instanceof SettingsError) {
      return error.problems.map(({ variable, value, allowed }) => `${variable}=${value}: ${allowed}`);
    }
    throw error;
  }
  return [];
}

it('makes the folders of the state and the log, and leaves nothing else in them', () => {
  prepare({});
  expect(readdirSync(join(folder, '.hxo')).sort()).toEqual(['artifacts', 'keys']);
  for (const made of ['artifacts', 'keys']) expect(readdirSync(join(folder, '.hxo', made))).toEqual([]);
  expect(readdirSync(join(folder, 'logs'))).toEqual(['app.log']);
});

it('makes no state of a worker, which has none', () => {
  prepare({ HXO_ARTIFACTS_DIR: 'shared', HXO_LOG_FILE: '' }, 'worker');
  expect(existsSync(join(folder, '.hxo'))).toBe(false);
  expect(existsSync(join(folder, 'shared'))).toBe(true);
});

it.each([
  ['HXO_HOME', 'file', 'a file stands where a folder is wanted'],
  ['HXO_HOME', 'file/below', 'a file stands where a folder is wanted'],
  ['HXO_HOME', '/proc', 'there is no such folder'],
  ['HXO_HOME', '/proc/hxo/home', 'there is no such folder'],
  ['HXO_DB_PATH', '/proc/hxo/checkpoints.db', 'there is no such folder'],
  ['HXO_ARTIFACTS_DIR', '/proc/hxo', 'there is no such folder'],
  ['HXO_SIGNING_KEY_FILE', '/proc/hxo/signing.pem', 'there is no such folder'],
  ['HXO_LOG_FILE', '/proc/hxo/app.log', 'there is no such folder'],
  ['HXO_LOG_FILE', 'file/app.log', 'a file stands where a folder is wanted'],
  ['HXO_LOG_FILE', '.', 'a folder stands where a file is wanted'],
  ['HXO_WORKSPACE', 'nowhere', 'there is no such folder'],
  ['HXO_WORKSPACE', 'file', 'a file stands where a folder is wanted'],
])('%s=%s is refused, and nothing beside it', (variable, value, reason) => {
  const problems = problemsOf({ [variable]: value });
  expect(problems).toHaveLength(1);
  expect(problems[0]).toMatch(new RegExp(`^${variable}=/.*: ${reason}; name `));
});

it('tells of all places at once', () => {
  const env = { HXO_HOME: 'file', HXO_LOG_FILE: '/proc/hxo/app.log', HXO_WORKSPACE: 'nowhere' };
  const variables = problemsOf(env).map((problem) => problem.split('=', 1)[0]);
  expect(variables).toEqual(['HXO_HOME', 'HXO_LOG_FILE', 'HXO_WORKSPACE']);
});

it('wants no writable folder for a signing key that is there', () => {
  mkdirSync(join(folder, 'logs'));
  expect(problemsOf({ HXO_SIGNING_KEY_FILE: '/proc/version' })).toEqual([]);
});
