import { counted } from '../counted.js';
import type { StoredEvent, Transaction } from '../checkpoint/checkpoint-store.js';
import { resultBatches } from '../checkpoint/result-lines.js';
import type { GenesisLink } from '../links/genesis.link.js';
import type { LiveStage } from '../plan/live-plan.js';
import { isTerminal } from '../plan/phases.js';
import type { Outcome } from './transport.js';

/** Leases that a shard may lose with their workers before it fails: it may well be what kills them. */
export const lease_losses_max = 20;

/**
 * Stores that a lease was lost with its worker, and the end of those of its `open` shards that have lost one lease too many;
 * nothing of a plan that has ended. The board follows after the commit.
 */
export function acceptLoss(
  tx: Transaction,
  stage: LiveStage,
  lease: { readonly bundle: number; readonly attempt: number },
  open: readonly number[],
  reason: string,
  ports: { readonly genesis: GenesisLink; readonly now_ms: number },
): StoredEvent[] {
  const { plan, stage_no, board, spec } = stage;
  if (isTerminal(tx.planPhase(plan.plan_no))) return [];
  tx.setBundleState(plan.plan_no, lease.bundle, 'lost', null);
  const detail = `Bundle ${lease.bundle} (${counted(open.length, 'open shard')}) was lost with its worker: ${reason}`;
  const alert = { code: 'LEASE_LOST', stage: spec.id, detail };
  const alerts = tx.appendEvents(ports.genesis.event('hxo.alert', plan.plan_id, alert));
  const gone = open.filter((ordinal) => isLastLoss(board.lossesOf(ordinal)));
  if (gone.length === 0) return alerts;
  const code = 'LEASES_LOST';
  const message = `Its worker was lost ${lease_losses_max + 1} times, last: ${reason}`;
  const failures = gone.map((ordinal): Outcome => {
    return { ordinal, status: 'failed', verdict: 'fail', code, message, duration_ms: 0 };
  });
  const origin = { attempt: lease.attempt, source_plan_no: null, worker: '', finished_at: ports.now_ms };
  tx.insertResults(plan.plan_no, plan.revision, resultBatches(stage_no, origin, failures));
  tx.countStage(plan.plan_no, stage_no, { failed: gone.length });
  const told = gone.map((ordinal) => ({ ordinal, attempt: lease.attempt, code, message, final: true }));
  return [...alerts, ...tx.appendEvents(ports.genesis.failures(plan.plan_id, spec.id, told))];
}

/** Does a shard with so many lost leases fail with the next? */
export function isLastLoss(losses: number): boolean {
  return losses + 1 > lease_losses_max;
}
