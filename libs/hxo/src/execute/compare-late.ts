import { isTerminal } from '../plan/phases.js';
import type { LiveStage } from '../plan/live-plan.js';
import { checkReports } from './check-outcome.js';
import { auditContradictions, contradictionOf } from './contradictions.js';
import type { AcceptancePorts } from './executing-stages.js';

/**
 * Compares what is reported of a lease that is over with the results that stand, and audits what contradicts them. Shards that
 * are not done are somebody else's by now, or will be: what is said of them comes too late and is dropped, as is what cannot
 * be read. Resolves when what is to be audited is committed.
 *
 * @param ordinals the shards that the lease had
 */
export async function compareLate(
  stage: LiveStage,
  ordinals: readonly number[],
  report: string,
  { store, artifacts, truth, genesis }: Pick<AcceptancePorts, 'store' | 'artifacts' | 'truth' | 'genesis'>,
): Promise<void> {
  const { board, plan } = stage;
  const done = new Set(ordinals.filter((ordinal) => board.phaseOf(ordinal) === 'done'));
  if (done.size === 0) return;
  const { outcomes } = await checkReports([report], done, artifacts);
  if (!outcomes.some(({ status }) => status === 'done')) return;
  const events = await store.write((tx) => {
    if (isTerminal(tx.planPhase(plan.plan_no))) return [];
    const contradictions = outcomes.flatMap((outcome) => contradictionOf(tx, stage, outcome) ?? []);
    return auditContradictions(tx, stage, contradictions, truth);
  }, 'shards');
  genesis.announce(events);
}
