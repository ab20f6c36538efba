import { partitionerConfig, type Catalogue } from '../plan/catalogue.js';
import { HxoError, type FieldError } from '../errors.js';
import type { PartitionContext } from '../partition/contract.js';
import { checkBlueprint, configViolation } from '../plan/check-blueprint.js';
import type { PlanSpec } from '../plan/plan-spec.js';
import { ConfigError } from '../plan/stage-config.js';

/** Holds plans to the contract of job kinds. */
export class BlueprintLink {
  constructor(
    private readonly catalogue: Catalogue,
    private readonly context: PartitionContext,
  ) {}

  /** The config field by which a partitioner leaves items out; null when it has none, or is not there any more. */
  capOf(partitioner: string): string | null {
    return this.catalogue.partitioners.get(partitioner)?.cap ?? null;
  }

  /** Throws HxoError BLUEPRINT_VIOLATION or NOT_IN_THIS_BUILD. */
  check(plan: PlanSpec): void {
    checkBlueprint(plan, this.catalogue);
  }

  /** Checks what only this server can tell. Throws HxoError BLUEPRINT_VIOLATION. */
  async precheck(plan: PlanSpec): Promise<void> {
    const violations: FieldError[] = [];
    for (const [index, stage] of plan.stages.entries()) {
      const partitioner = this.catalogue.partitioners.get(stage.partitioner);
      if (partitioner?.precheck === undefined) continue;
      try {
        await partitioner.precheck(partitionerConfig(partitioner, stage, this.catalogue), this.context);
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        violations.push(configViolation(stage, index, error));
      }
    }
    if (violations.length > 0) throw new HxoError('BLUEPRINT_VIOLATION', violations[0]!.message, violations);
  }
}
