import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parse } from 'dotenv';
import { type ClientSettings, readClientSettings } from './client-settings.js';
import { type Environment, SettingsError } from './reader.js';
import { type Program, readSettings, type Settings } from './settings.js';

/**
 * The settings of the server, or of a worker, from `.env` in the current directory and the environment, which wins.
 *
 * Throws {@link SettingsError}.
 */
export function loadSettings(cwd: string = process.cwd(), program: Program = 'server'): Settings {
  const machine = {
    cores: availableParallelism(),
    readFile: (path: string) => readFileSync(path, 'utf8'),
  };
  return readSettings(environment(cwd), cwd, machine, program);
}

/**
 * The settings of the `hxo` command, from the same places; variables given on the command line win over both.
 *
 * Throws {@link SettingsError}.
 */
export function loadClientSettings(given: Environment = {}, cwd: string = process.cwd()): ClientSettings {
  return readClientSettings({ ...environment(cwd), ...given }, cwd);
}

/** The environment of this process, for programs that pass parts of it on. */
export function processEnvironment(): Environment {
  return { ...process.env };
}

/** The environment for a child process that is to run by the given variables and by none that this one inherited. */
export function childEnvironment(variables: Environment): Environment {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(HXO|GENESIS)_/.test(name));
  return { ...Object.fromEntries(inherited), ...variables };
}

function environment(cwd: string): Environment {
  return { ...readDotEnv(join(cwd, '.env')), ...process.env };
}

function readDotEnv(path: string): Environment {
  try {
    return parse(readFileSync(path));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return {};
    const allowed = `it cannot be read (${message}). Make it a readable file, or take it away.`;
    throw new SettingsError([{ variable: path, value: null, allowed }]);
  }
}
