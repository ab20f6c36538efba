import { pathToFileURL } from 'node:url';
import { globby } from 'globby';
import type { Executor } from '#hxo/execute';
import { executors } from './executors.js';

/** Thrown when HXO_EXECUTORS names nothing, or a module that exports no executor. */
export class ExecutorModuleError extends Error {
  override readonly name = 'ExecutorModuleError';
}

/**
 * File URLs of the modules that globs name, sorted. Throws {@link ExecutorModuleError} for a glob that matches nothing: a
 * misspelt path must not look like an executor that is not there.
 */
export async function findExecutorModules(globs: readonly string[], cwd: string): Promise<string[]> {
  const urls: string[] = [];
  for (const glob of globs) {
    const paths = await globby(glob, { cwd, absolute: true });
    if (paths.length === 0)
      throw new ExecutorModuleError(`HXO_EXECUTORS: ${glob} matches no file below ${cwd}.`);
    urls.push(...paths.sort().map((path) => pathToFileURL(path).href));
  }
  return urls;
}

/** The executors of this build and those of further modules: the default export of each is an Executor, or an array of them. */
export async function loadExecutors(urls: readonly string[]): Promise<Executor[]> {
  const loaded = await Promise.all(
    urls.map(async (url) => {
      const module = (await import(url)) as { default?: Executor | readonly Executor[] };
      if (module.default === undefined) {
        throw new ExecutorModuleError(
          `${url} has no default export. Export an executor, or an array of them, as default.`,
        );
      }
      return module.default;
    }),
  );
  return [...executors, ...loaded.flat()];
}
