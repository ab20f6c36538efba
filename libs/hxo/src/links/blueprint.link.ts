import type { Catalogue } from '../plan/catalogue.js';
import { checkBlueprint } from '../plan/check-blueprint.js';
import type { PlanSpec } from '../plan/plan-spec.js';

/** Holds plans to the contract of job kinds. */
export class BlueprintLink {
  constructor(private readonly catalogue: Catalogue) {}

  /** Throws HxoError BLUEPRINT_VIOLATION or NOT_IN_THIS_BUILD. */
  check(plan: PlanSpec): void {
    checkBlueprint(plan, this.catalogue);
  }
}
