import type { PlanPhase, StagePhase } from '../views.js';
import {
  assertPlanTransition,
  assertStageTransition,
  isSettled,
  isTerminal,
  plan_phases as listed_phases,
  unfinished_phases,
} from './phases.js';

/** The only legal transitions, written `from → to`; every other pair must throw. */
const plan_phases: PlanPhase[] = [
  ...(['created', 'submitted', 'partitioning', 'running', 'aggregating', 'certifying'] as const),
  ...(['succeeded', 'failed', 'aborted'] as const),
];
const plan_legal = [
  ...['created → submitted', 'submitted → partitioning', 'partitioning → running', 'running → aggregating'],
  ...['aggregating → certifying', 'certifying → succeeded'],
  // Anything under way may fail; anything that has not ended may be aborted.
  ...plan_phases.slice(1, 6).map((phase) => `${phase} → failed`),
  ...plan_phases.slice(0, 6).map((phase) => `${phase} → aborted`),
];

const stage_phases: StagePhase[] = [
  ...(['waiting', 'partitioning', 'ready', 'running', 'collecting'] as const),
  ...(['done', 'failed', 'skipped', 'aborted'] as const),
];
const stage_legal = [
  ...['waiting → partitioning', 'waiting → skipped', 'partitioning → partitioning', 'partitioning → ready'],
  ...['partitioning → failed', 'ready → running', 'ready → skipped', 'running → collecting'],
  ...['running → done', 'running → failed', 'collecting → done', 'collecting → failed'],
  ...['partitioning → aborted', 'running → aborted', 'collecting → aborted'],
];

function pairs<T extends string>(phases: readonly T[]): [T, T][] {
  return phases.flatMap((from) => phases.map((to): [T, T] => [from, to]));
}

describe('plan phases', () => {
  it.each(pairs(plan_phases))('%s → %s', (from, to) => {
    const enter = (): void => assertPlanTransition(from, to);
    if (plan_legal.includes(`${from} → ${to}`)) enter();
    else expect(enter).toThrow(`Illegal plan transition ${from} → ${to}.`);
  });

  it('end where nothing leads on', () => {
    expect(plan_phases.filter(isTerminal)).toEqual(['succeeded', 'failed', 'aborted']);
  });

  it('are listed in the order that a plan goes through them, certifying among the unfinished', () => {
    expect(listed_phases).toEqual(plan_phases);
    expect(unfinished_phases).toEqual(plan_phases.slice(1, 6));
  });
});

describe('stage phases', () => {
  it.each(pairs(stage_phases))('%s → %s', (from, to) => {
    const enter = (): void => assertStageTransition(from, to);
    if (stage_legal.includes(`${from} → ${to}`)) enter();
    else expect(enter).toThrow(`Illegal stage transition ${from} → ${to}.`);
  });

  it('end where nothing leads on', () => {
    expect(stage_phases.filter(isSettled)).toEqual(['done', 'failed', 'skipped', 'aborted']);
  });
});
