import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Executor, Partitioner } from '#hxo/execute';
import { executors } from './executors.js';

/** Thrown when HXO_EXECUTORS names nothing, or a module that cannot be loaded or exports no executor. */
export class ExecutorModuleError extends Error {
  override readonly name = 'ExecutorModuleError';
}

/**
 * File URLs of the modules that globs name, sorted. Throws {@link ExecutorModuleError} for a glob that matches nothing: a
 * misspelt path must not look like an executor that is not there.
 */
export async function findExecutorModules(globs: readonly string[], cwd: string): Promise<string[]> {
  if (globs.length === 0) return [];
  // Loaded when it is needed: every thread and process of the pool imports this module, and none of them looks for others.
  const { globby } = await import('globby');
  const urls: string[] = [];
  for (const glob of globs) {
    const paths = await globby(glob, { cwd, absolute: true });
    if (paths.length === 0)
      throw new ExecutorModuleError(`HXO_EXECUTORS: ${glob} matches no file below ${cwd}.`);
    urls.push(...paths.sort().map((path) => pathToFileURL(path).href));
  }
  return urls;
}

/**
 * The executors of this build and those of further modules: the default export of each is an Executor, or an array of them.
 * Throws {@link ExecutorModuleError} naming the module and what is wrong with it.
 */
export async function loadExecutors(urls: readonly string[]): Promise<Executor[]> {
  return [...executors, ...(await Promise.all(urls.map(loadModule))).flat()];
}

/**
 * The partitioners that further modules bring: the named export `partitioners` of each, an array. Throws
 * {@link ExecutorModuleError} naming the module and what is wrong with it.
 */
export async function loadPartitioners(urls: readonly string[]): Promise<Partitioner[]> {
  const lists = urls.map(async (url) => {
    const { partitioners = [] } = await importModule(url);
    if (!Array.isArray(partitioners) || !partitioners.every(isPartitioner))
      throw broken(url, 'exports as `partitioners` what is no list of { name, parse, partition }');
    return partitioners;
  });
  return (await Promise.all(lists)).flat();
}

function isPartitioner(value: unknown): value is Partitioner {
  const { name, parse, partition } = (value ?? {}) as Readonly<Record<keyof Partitioner, unknown>>;
  return typeof name === 'string' && typeof parse === 'function' && typeof partition === 'function';
}

async function loadModule(url: string): Promise<Executor[]> {
  const module = await importModule(url);
  if (module.default === undefined) {
    throw broken(url, 'has no default export. Export an executor, or an array of them, as default');
  }
  const isList = Array.isArray(module.default);
  const exported: unknown[] = isList ? (module.default as unknown[]) : [module.default];
  return exported.map((executor, i) => {
    const fault = faultOf(executor);
    if (fault !== null) throw broken(url, `exports no executor${isList ? ` at [${i}]` : ''}: ${fault}`);
    return executor as Executor;
  });
}

async function importModule(
  url: string,
): Promise<{ readonly default?: unknown; readonly partitioners?: unknown }> {
  try {
    return (await import(url)) as { readonly default?: unknown; readonly partitioners?: unknown };
  } catch (error) {
    // Node tells the line of a syntax error to nobody but itself.
    const where = String(error).startsWith('SyntaxError')
      ? ' ("node --check" on the file shows the line)'
      : '';
    throw broken(url, `cannot be loaded: ${String(error)}${where}`, error);
  }
}

/** What keeps a value from being an Executor, in words; null when nothing does. */
function faultOf(value: unknown): string | null {
  if (typeof value !== 'object' || value === null) {
    return `it is ${value === null ? 'null' : `a ${typeof value}`}, not an object`;
  }
  const fields = value as Readonly<Record<keyof Executor, unknown>>;
  const isText = (field: unknown): boolean => typeof field === 'string' && field !== '';
  const wanted: readonly (readonly [keyof Executor, boolean, string])[] = [
    ['name', isText(fields.name), 'a text'],
    ['version', isText(fields.version), 'a text; quote a number'],
    ['kinds', Array.isArray(fields.kinds) && fields.kinds.every(isText), 'a list of texts'],
    ['cacheable', typeof fields.cacheable === 'boolean', 'true or false'],
    ['deterministic', typeof fields.deterministic === 'boolean', 'true or false'],
    ['load', fields.load === 'cpu' || fields.load === 'io', "'cpu' or 'io'"],
    ['isolation', fields.isolation === 'thread' || fields.isolation === 'process', "'thread' or 'process'"],
    ['parse', typeof fields.parse === 'function', 'a function'],
    ['run', typeof fields.run === 'function', 'a function'],
    [
      'collect',
      fields.collect === undefined || typeof fields.collect === 'function',
      'a function, or left out',
    ],
  ];
  const faults = wanted.filter(([, holds]) => !holds).map(([field, , what]) => `${field} must be ${what}`);
  return faults.length === 0 ? null : faults.join(', ');
}

function broken(url: string, what: string, cause?: unknown): ExecutorModuleError {
  return new ExecutorModuleError(`HXO_EXECUTORS: ${fileURLToPath(url)} ${what}.`, { cause });
}
