import type { PlanKey } from '../background.js';
import type { PlanReader, PlanRow } from '../checkpoint/checkpoint-store.js';
import { isTerminal } from '../plan/phases.js';
import type { HasherOf } from './plan-trees.js';
import { StageHasher } from './stage-hasher.js';

/** Segments hashed by one call: others that wait for the thread must not wait long. */
const segments_max = 128;
/** Plans whose hashes are kept, the one hashed last at the end; what is dropped is hashed again at the plan's end. */
const kept_plans = 4;

/**
 * Leaves and records of plans that are still running, hashed as far as nothing can change any more: so that the end of a
 * plan of a million shards is not a wait. Held in memory only, and computed again when lost.
 */
export class HashedAhead {
  private readonly plans = new Map<string, Map<number, StageHasher>>();

  /** Hashes some more of a plan's stages, and forgets a plan that has ended. Did it get any further? */
  advance(reader: PlanReader, key: PlanKey): boolean {
    const plan = reader.planByNo(key.plan_no);
    if (plan === null || isTerminal(plan.phase)) {
      this.plans.delete(nameOf(key));
      return false;
    }
    const hashers = this.plans.get(nameOf(key)) ?? new Map<number, StageHasher>();
    this.plans.delete(nameOf(key));
    this.plans.set(nameOf(key), hashers);
    if (this.plans.size > kept_plans) this.plans.delete(this.plans.keys().next().value!);
    let left = segments_max;
    for (const stage of reader.stages(key.plan_no)) {
      if (stage.phase === 'waiting' || stage.phase === 'partitioning') continue;
      const { stage_no } = stage;
      const hasher = hashers.get(stage_no) ?? new StageHasher(plan, stage, plan.spec.stages[stage_no]!);
      hashers.set(stage_no, hasher);
      left -= hasher.advance(reader, left);
    }
    return left < segments_max;
  }

  /** Hands over what has been hashed of a plan. */
  take(plan: PlanRow): HasherOf {
    const hashers = this.plans.get(nameOf(plan));
    this.plans.delete(nameOf(plan));
    return (stage, spec) => hashers?.get(stage.stage_no) ?? new StageHasher(plan, stage, spec);
  }
}

function nameOf({ plan_no, revision }: PlanKey): string {
  return `${plan_no}/${revision}`;
}
