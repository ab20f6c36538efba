import type { Executor } from '../execute/contract.js';
import type { Partitioner } from '../partition/contract.js';
import { job_kinds, type JobKind } from './job-kinds.js';
import type { StageSpec } from './plan-spec.js';
import { splitConfig } from './stage-config.js';

/** Everything a stage may name: the kinds, and the partitioners and executors that this process can run. */
export interface Catalogue {
  readonly kinds: ReadonlyMap<string, JobKind>;
  readonly partitioners: ReadonlyMap<string, Partitioner>;
  readonly executors: ReadonlyMap<string, Executor>;
}

/** Thrown at start when executors, partitioners and kinds do not fit together. HXO refuses to start then. */
export class CatalogueError extends Error {
  override readonly name = 'CatalogueError';
}

/**
 * Puts the catalogue together. An executor whose kinds the contract does not know adds them, with every partitioner
 * allowed. Throws {@link CatalogueError} when a name stands twice.
 */
export function buildCatalogue(
  partitioners: readonly Partitioner[],
  executors: readonly Executor[],
): Catalogue {
  const partitionerByName = byName('partitioner', partitioners);
  const executorByName = byName('executor', executors);
  const kinds = new Map(job_kinds.map((kind) => [kind.name, kind]));
  for (const executor of executors) {
    if (executor.kinds.length === 0) {
      throw new CatalogueError(
        `Executor ${executor.name} serves no kind. Give it at least one in \`kinds\`.`,
      );
    }
    for (const name of executor.kinds) {
      const kind = kinds.get(name);
      if (kind?.executors.includes(executor.name)) continue;
      kinds.set(name, {
        name,
        description: `Work of ${executor.name}`,
        partitioners: [...partitionerByName.keys()],
        slo_ms: null,
        ...kind,
        executors: [...(kind?.executors ?? []), executor.name],
      });
    }
  }
  return { kinds, partitioners: partitionerByName, executors: executorByName };
}

/** The partitioner's part of a stage's config, parsed. Throws ConfigError. */
export function partitionerConfig<Config>(
  partitioner: Partitioner<Config>,
  stage: StageSpec,
  { executors }: Catalogue,
): Config {
  return partitioner.parse(splitConfig(stage.config, executors.get(stage.executor)?.options).rest);
}

function byName<T extends { readonly name: string }>(what: string, list: readonly T[]): Map<string, T> {
  const map = new Map<string, T>();
  for (const item of list) {
    if (map.has(item.name)) {
      throw new CatalogueError(
        `Two ${what}s are named ${item.name}. Rename one, or remove it from HXO_EXECUTORS.`,
      );
    }
    map.set(item.name, item);
  }
  return map;
}
