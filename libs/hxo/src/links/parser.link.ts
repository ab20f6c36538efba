import type { Json } from '#truth';
import type { Catalogue } from '../plan/catalogue.js';
import { parsePlan, type PlanDefaults } from '../plan/parse-plan.js';
import type { PlanSpec } from '../plan/plan-spec.js';

/** Reads plans as they arrive, with the defaults of this server. */
export class ParserLink {
  constructor(
    private readonly catalogue: Catalogue,
    private readonly defaults: PlanDefaults,
  ) {}

  /** Throws HxoError INVALID_PLAN or BLUEPRINT_VIOLATION. */
  parse(plan: Json): PlanSpec {
    return parsePlan(plan, this.catalogue.kinds, this.defaults);
  }
}
