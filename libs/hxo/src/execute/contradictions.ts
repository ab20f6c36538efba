import type { Digest } from '#truth';
import type { StoredEvent, Transaction } from '../checkpoint/checkpoint-store.js';
import { outputDigest } from '../checkpoint/result-lines.js';
import type { TruthLink } from '../links/truth.link.js';
import type { LiveStage } from '../plan/live-plan.js';
import type { Outcome } from './transport.js';

/** An outcome that contradicts the result of its shard that stands. */
export interface Contradiction {
  readonly ordinal: number;
  /** The digest that was reported, and does not count. */
  readonly rejected: Digest;
}

/**
 * Compares an outcome of a shard that was decided before with what stands. Null when they agree, or one of them has no
 * output to compare.
 * @param earlier what was decided in the same batch, and is not stored yet
 */
export function contradictionOf(
  tx: Transaction,
  stage: LiveStage,
  outcome: Outcome,
  earlier?: Outcome,
): Contradiction | null {
  if (outcome.status !== 'done') return null;
  const { ordinal } = outcome;
  const stands = earlier === undefined ? standingDigest(tx, stage, ordinal) : digestOf(earlier);
  const rejected = digestOf(outcome);
  return stands === null || rejected === null || stands === rejected ? null : { ordinal, rejected };
}

/** The digest of a shard's result that stands; null when it has none, or has failed. */
function standingDigest(tx: Transaction, { plan, stage_no }: LiveStage, ordinal: number): Digest | null {
  const standing = tx.standingResult(plan.plan_no, plan.revision, stage_no, ordinal);
  return standing?.status === 'done' ? outputDigest(standing) : null;
}

function digestOf(outcome: Outcome): Digest | null {
  if (outcome.status !== 'done') return null;
  return outputDigest({ declared_output: outcome.digest, value: outcome.value });
}

/** Contradictions of a report that the audit trail names one by one. */
const contradictions_named_max = 10;

/** Audits what contradicts the results that stand: one entry a report, so that a broken worker cannot flood the trail. */
export function auditContradictions(
  tx: Transaction,
  stage: LiveStage,
  contradictions: readonly Contradiction[],
  truth: TruthLink,
): StoredEvent[] {
  if (contradictions.length === 0) return [];
  const shards = contradictions
    .slice(0, contradictions_named_max)
    .map(({ ordinal, rejected }) => ({ ordinal, rejected }));
  return truth.audit(tx, {
    actor: 'hxo',
    action: 'result.nondeterministic',
    outcome: 'rejected',
    plan_id: stage.plan_id,
    data: { stage: stage.spec.id, code: 'NONDETERMINISTIC', contradictions: contradictions.length, shards },
  });
}
