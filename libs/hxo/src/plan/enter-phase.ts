import type { NewEvent } from '../checkpoint/checkpoint-store.js';
import type { EnginePorts } from '../engine-ports.js';
import type { PlanPhase } from '../views.js';
import { PlanStopped, type LivePlan } from './live-plan.js';
import { isTerminal, unfinished_phases } from './phases.js';

/**
 * Moves a plan to its next phase, unless it is there already or beyond; `told` are events of how it got there. Throws
 * PlanStopped when it was stopped.
 */
export async function enterPhase(
  plan: LivePlan,
  phase: PlanPhase,
  ports: EnginePorts,
  told: readonly NewEvent[] = [],
): Promise<void> {
  if (plan.stopped !== null) throw plan.stopped;
  if (unfinished_phases.indexOf(plan.phase) >= unfinished_phases.indexOf(phase)) return;
  const started_at = plan.started_at ?? ports.clock.now_ms();
  const events = await ports.store.write((tx) => {
    assertAlive(tx.planPhase(plan.plan_no));
    tx.updatePlan(plan.plan_no, { phase, started_at });
    const { name } = plan.spec;
    return tx.appendEvents([
      ...told,
      ...ports.genesis.event('hxo.plan', plan.plan_id, { name, phase, revision: plan.revision, error: null }),
    ]);
  }, 'engine');
  plan.phase = phase;
  plan.started_at = started_at;
  ports.genesis.announce(events);
}

/** Inside a transaction: a plan that was stopped in the meantime stays as it was stored. */
export function assertAlive(phase: PlanPhase): void {
  if (isTerminal(phase)) throw new PlanStopped('aborted', 'PLAN_ENDED', `The plan is ${phase} already.`);
}
