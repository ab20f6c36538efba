import type { PlanPhase, StagePhase } from '../views.js';

/** Every legal transition of a plan. Anything else is a programmer's mistake. */
const plan_transitions: Readonly<Record<PlanPhase, readonly PlanPhase[]>> = {
  created: ['submitted', 'aborted'],
  submitted: ['partitioning', 'failed', 'aborted'],
  partitioning: ['running', 'failed', 'aborted'],
  running: ['aggregating', 'failed', 'aborted'],
  aggregating: ['certifying', 'failed', 'aborted'],
  certifying: ['succeeded', 'failed', 'aborted'],
  succeeded: [],
  failed: [],
  aborted: [],
};

/** All phases of a plan, in the order that it goes through them; the three last are its ends. */
export const plan_phases = Object.keys(plan_transitions) as readonly PlanPhase[];

const stage_transitions: Readonly<Record<StagePhase, readonly StagePhase[]>> = {
  waiting: ['partitioning', 'skipped'],
  partitioning: ['partitioning', 'ready', 'failed', 'aborted'], // again: a crash discards half a partition
  ready: ['running', 'skipped'],
  running: ['collecting', 'done', 'failed', 'aborted'],
  collecting: ['done', 'failed', 'aborted'],
  done: [],
  failed: [],
  skipped: [],
  aborted: [],
};

/** Asserts that a plan may go from one phase to another. */
export function assertPlanTransition(from: PlanPhase, to: PlanPhase): void {
  if (!plan_transitions[from].includes(to)) throw new Error(`Illegal plan transition ${from} → ${to}.`);
}

/** Asserts that a stage may go from one phase to another. */
export function assertStageTransition(from: StagePhase, to: StagePhase): void {
  if (!stage_transitions[from].includes(to)) throw new Error(`Illegal stage transition ${from} → ${to}.`);
}

/** True for phases that a plan never leaves. */
export function isTerminal(phase: PlanPhase): boolean {
  return plan_transitions[phase].length === 0;
}

/** The phases of a plan that was submitted and has not ended, in the order that it goes through them. */
export const unfinished_phases = plan_phases.filter((phase) => phase !== 'created' && !isTerminal(phase));

/** True for phases that a stage never leaves. */
export function isSettled(phase: StagePhase): boolean {
  return stage_transitions[phase].length === 0;
}
