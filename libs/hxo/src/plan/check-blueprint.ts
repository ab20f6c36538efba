import { HxoError, type FieldError } from '../errors.js';
import { ConfigError } from '../partition/contract.js';
import type { Catalogue } from './catalogue.js';
import { built_schedulers, schedulers } from './job-kinds.js';
import type { PlanSpec, StageSpec } from './plan-spec.js';

/**
 * Checks a plan against the contract: partitioner, executor and scheduler allowed for each kind and present here,
 * config understood, stage ids unique, dependencies known and free of cycles. Pure.
 *
 * Throws HxoError BLUEPRINT_VIOLATION naming every offending stage and what is allowed, or NOT_IN_THIS_BUILD when all
 * that is wrong is that a partitioner, executor or scheduler of the contract is not built yet.
 */
export function checkBlueprint(plan: PlanSpec, catalogue: Catalogue): void {
  const violations: FieldError[] = [...dagViolations(plan.stages)];
  const missing: FieldError[] = [];
  plan.stages.forEach((stage, index) => {
    const kind = catalogue.kinds.get(stage.kind)!;
    checkName('partitioner', stage, index, kind.partitioners, [...catalogue.partitioners.keys()]);
    checkName('executor', stage, index, kind.executors, [...catalogue.executors.keys()]);
    checkName('scheduler', stage, index, schedulers, built_schedulers);
    violations.push(...configViolations(stage, index, catalogue));
  });
  if (violations.length > 0) throw new HxoError('BLUEPRINT_VIOLATION', violations[0]!.message, violations);
  if (missing.length > 0) throw new HxoError('NOT_IN_THIS_BUILD', missing[0]!.message, missing);

  function checkName(
    field: 'partitioner' | 'executor' | 'scheduler',
    stage: StageSpec,
    index: number,
    allowed: readonly string[],
    built: readonly string[],
  ): void {
    const name = stage[field];
    const path = `stages[${index}].${field}`;
    if (!allowed.includes(name)) {
      const message = `Stage ${stage.id}: ${field} ${name} is not allowed for ${stage.kind}. Allowed: ${allowed.join(', ')}.`;
      violations.push({ field: path, message });
    } else if (!built.includes(name)) {
      const message = `Stage ${stage.id}: ${field} ${name} (${stage.kind}) is not in this build yet. Remove the stage, or use a build that has it.`;
      missing.push({ field: path, message });
    }
  }
}

function configViolations(stage: StageSpec, index: number, catalogue: Catalogue): FieldError[] {
  try {
    catalogue.partitioners.get(stage.partitioner)?.parse(stage.config);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const field = `stages[${index}].config${error.field === '' ? '' : `.${error.field}`}`;
    return [{ field, message: `Stage ${stage.id}: ${error.message}` }];
  }
}

function dagViolations(stages: readonly StageSpec[]): FieldError[] {
  const ids = stages.map((stage) => stage.id);
  const violations: FieldError[] = [];
  stages.forEach((stage, index) => {
    if (ids.indexOf(stage.id) !== index) {
      violations.push({
        field: `stages[${index}].id`,
        message: `Stage id ${stage.id} stands twice. Ids are unique in a plan.`,
      });
    }
    for (const dependency of stage.dependencies) {
      if (!ids.includes(dependency)) {
        const message = `Stage ${stage.id}: unknown dependency ${dependency}. Stages of this plan: ${ids.join(', ')}.`;
        violations.push({ field: `stages[${index}].dependencies`, message });
      }
    }
  });
  if (violations.length > 0) return violations;
  const cycle = findCycle(stages);
  if (cycle === null) return [];
  const message = `Stages depend on each other in a circle: ${[...cycle, cycle[0]].join(' → ')}. Remove one dependency.`;
  return [{ field: `stages[${ids.indexOf(cycle[0]!)}].dependencies`, message }];
}

/** The ids of one dependency cycle, or null. Peels off stages whose dependencies are all peeled (Kahn's algorithm). */
function findCycle(stages: readonly StageSpec[]): string[] | null {
  let left = [...stages];
  for (;;) {
    const blocked = left.filter((stage) =>
      stage.dependencies.some((id) => left.some((other) => other.id === id)),
    );
    if (blocked.length === left.length) break;
    left = blocked;
  }
  if (left.length === 0) return null;
  const walk: string[] = [];
  let at = left[0]!;
  while (!walk.includes(at.id)) {
    walk.push(at.id);
    at = left.find((stage) => at.dependencies.includes(stage.id))!;
  }
  return walk.slice(walk.indexOf(at.id));
}
