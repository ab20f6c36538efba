import { HxoError, type FieldError } from '../errors.js';
import type { Catalogue } from './catalogue.js';
import { built_schedulers, schedulers } from './job-kinds.js';
import type { PlanSpec, StageSpec } from './plan-spec.js';
import { ConfigError, parseFields, splitConfig, UnknownField } from './stage-config.js';

/** Stages listed in the message on an unknown dependency: a plan may name many thousand of those. */
const listed_max = 20;
/** Stage ids name folders and files of what a plan makes: one path segment, everywhere. */
const safe_id = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}$/;

/**
 * Checks a plan against the contract: partitioner, executor and scheduler allowed for each kind and present here,
 * config understood, stage ids safe and unique, dependencies known and free of cycles. Pure.
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
      const message = `Stage ${stage.id}: ${field} ${name} is not allowed for ${stage.kind}. Allowed: ${offer(allowed, built)}.`;
      violations.push({ field: path, message });
    } else if (!built.includes(name)) {
      const instead = allowed.filter((each) => built.includes(each)).join(' or ');
      const way_out = instead === '' ? 'use a build that has it' : `name ${instead} instead`;
      const message = `Stage ${stage.id}: ${field} ${name} (${stage.kind}) is not in this build. Remove the stage, or ${way_out}.`;
      missing.push({ field: path, message });
    }
  }
}

/** Names that are allowed, and which of them this build lacks. */
function offer(allowed: readonly string[], built: readonly string[]): string {
  return allowed.map((name) => (built.includes(name) ? name : `${name} (not in this build)`)).join(', ');
}

function configViolations(stage: StageSpec, index: number, catalogue: Catalogue): FieldError[] {
  return configFaults(stage, catalogue).map((fault) => configViolation(stage, index, fault));
}

/**
 * What is wrong with a config: every field, then, when each is right by itself, what does not go together. Names that this
 * build lacks are told elsewhere.
 */
function configFaults({ config, ...stage }: StageSpec, catalogue: Catalogue): readonly ConfigError[] {
  const executor = catalogue.executors.get(stage.executor);
  const partitioner = catalogue.partitioners.get(stage.partitioner);
  const { own, rest } = splitConfig(config, executor?.options);
  const partitioner_faults = faultsOf(() => partitioner?.parse(rest));
  if (executor?.options === undefined) return partitioner_faults;
  const { name, options } = executor;
  const takes = `${name} takes ${Object.keys(options).join(', ')}.`;
  const faults = [
    ...faultsOf(() => parseFields(name, options, own)),
    ...partitioner_faults.map((fault) =>
      fault instanceof UnknownField ? new UnknownField(fault.field, `${fault.message} ${takes}`) : fault,
    ),
  ];
  if (faults.length > 0) return faults;
  return faultsOf(() => executor.checkOptions?.(parseFields(name, options, own), config));
}

function faultsOf(check: () => unknown): readonly ConfigError[] {
  try {
    check();
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.faults;
  }
}

/** A fault of a stage's config as callers see it. */
export function configViolation(stage: StageSpec, index: number, error: ConfigError): FieldError {
  const field = `stages[${index}].config${error.field === '' ? '' : `.${error.field}`}`;
  return { field, message: `Stage ${stage.id}: ${error.message}` };
}

function dagViolations(stages: readonly StageSpec[]): FieldError[] {
  const ids = stages.map((stage) => stage.id);
  const known = new Set(ids);
  const there_are = ids.length <= listed_max ? ids.join(', ') : `${ids.slice(0, listed_max).join(', ')}, …`;
  const violations: FieldError[] = [];
  const seen = new Set<string>();
  stages.forEach((stage, index) => {
    if (!safe_id.test(stage.id)) {
      violations.push({
        field: `stages[${index}].id`,
        message: `Stage id ${JSON.stringify(stage.id.slice(0, 64))} is not allowed. Use 1 to 64 letters, digits, ".", "_" or "-", and neither "." nor "..".`,
      });
    }
    if (seen.has(stage.id)) {
      violations.push({
        field: `stages[${index}].id`,
        message: `Stage id ${stage.id} stands twice. Ids are unique in a plan.`,
      });
    }
    seen.add(stage.id);
    for (const dependency of stage.dependencies) {
      if (!known.has(dependency)) {
        const message = `Stage ${stage.id}: unknown dependency ${dependency}. Stages of this plan: ${there_are}.`;
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
  const dependencies = new Map(stages.map((stage) => [stage.id, stage.dependencies]));
  const dependents = new Map<string, string[]>(stages.map((stage) => [stage.id, []]));
  for (const stage of stages) for (const id of stage.dependencies) dependents.get(id)!.push(stage.id);
  /** Stages that are not peeled yet, each with the number of its dependencies that are not. */
  const left = new Map(stages.map((stage) => [stage.id, stage.dependencies.length]));
  const free = stages.filter((stage) => stage.dependencies.length === 0).map((stage) => stage.id);
  for (const id of free) {
    left.delete(id);
    for (const dependent of dependents.get(id)!) {
      const open = left.get(dependent)! - 1;
      left.set(dependent, open);
      if (open === 0) free.push(dependent);
    }
  }
  let [at] = left.keys();
  if (at === undefined) return null;
  // Whatever is left depends on something that is left: a walk along dependencies comes back to where it has been.
  const walk = new Set<string>();
  while (!walk.has(at)) {
    walk.add(at);
    at = dependencies.get(at)!.find((id) => left.has(id))!;
  }
  return [...walk].slice([...walk].indexOf(at));
}
