import type { StoredEvent, Transaction } from '../checkpoint/checkpoint-store.js';
import { resultBatches } from '../checkpoint/result-lines.js';
import type { GenesisLink } from '../links/genesis.link.js';
import type { TruthLink } from '../links/truth.link.js';
import type { LiveStage } from '../plan/live-plan.js';
import { isTerminal } from '../plan/phases.js';
import { isLastLoss } from './accept-loss.js';
import type { Rejection } from './check-outcome.js';
import { auditContradictions, contradictionOf, type Contradiction } from './contradictions.js';
import { disk_full } from './outcome.js';
import type { Outcome, OutcomeBatch } from './transport.js';

/** An executor error, and whether it was the last that the shard may have. */
export interface ShardFailure {
  readonly ordinal: number;
  readonly code: string;
  readonly message: string;
  readonly final: boolean;
}

/** A shard whose worker could not be trusted, and why. */
export interface ReturnedShard {
  readonly ordinal: number;
  readonly code: string;
  /** It may be what spoils its workers, and is charged with a lost lease. False for a full disk, which no shard is to blame for. */
  readonly charged: boolean;
}

/** What a transaction has accepted; the board follows it after the commit. */
export interface Acceptance {
  readonly done: readonly number[];
  readonly failures: readonly ShardFailure[];
  /** Shards whose worker could not be trusted: charged with no failure. */
  readonly returned: readonly ReturnedShard[];
  readonly events: readonly StoredEvent[];
}

/** Reports of one lease that are taken together, each its own text: one that cannot be read must not spoil the others. */
export type TakenReports = Omit<OutcomeBatch, 'outcomes'> & { readonly reports: readonly string[] };

/** Reports whose outcomes are read and checked. */
export type CheckedBatch = Omit<TakenReports, 'reports'> & { readonly outcomes: readonly Outcome[] };

interface AcceptPorts {
  readonly genesis: GenesisLink;
  readonly truth: TruthLink;
  readonly now_ms: number;
}

/**
 * Accepts outcomes, each shard exactly once, in one transaction. Runs synchronously inside it and touches no memory but the
 * plan's count of bundles, so that it may run again if the transaction does.
 *
 * An outcome below its shard's fence is late and dropped, and so is every one of a plan that has ended. One of a shard that
 * has a result already is a duplicate when the digests agree; when they do not, the executor is not deterministic: the
 * first result stands, and that is audited.
 */
export function acceptOutcomes(
  tx: Transaction,
  stage: LiveStage,
  batch: CheckedBatch,
  ports: AcceptPorts,
): Acceptance {
  if (isTerminal(tx.planPhase(stage.plan.plan_no)))
    return { done: [], failures: [], returned: [], events: [] };
  const { ended, contradictions, ...decided } = decide(tx, stage, batch, ports);
  insertEnded(tx, stage, batch, ended, ports.now_ms);
  if (batch.final) tx.setBundleState(stage.plan.plan_no, batch.bundle, 'closed', batch.worker);
  insertCharges(tx, stage, batch.attempt, decided.returned, ports.now_ms);
  const audited = auditContradictions(tx, stage, contradictions, ports.truth);
  const told = tellDecided(tx, stage, batch.attempt, decided, ports.genesis);
  return { ...decided, events: [...audited, ...told] };
}

/** What the outcomes of a batch mean for their shards. */
interface Decision extends Omit<Acceptance, 'events'> {
  /** Outcomes that end their shards: their results. */
  readonly ended: readonly Outcome[];
  readonly contradictions: readonly Contradiction[];
}

/** Decides on outcome after outcome. Stores executor errors as it goes: only the store knows whether one was known. */
function decide(tx: Transaction, stage: LiveStage, batch: CheckedBatch, ports: AcceptPorts): Decision {
  const { board } = stage;
  const done: number[] = [];
  const failures: ShardFailure[] = [];
  const returned: ReturnedShard[] = [];
  const ended: Outcome[] = [];
  const contradictions: Contradiction[] = [];
  /** Outcomes of this batch that count. */
  const decided = new Map<number, Outcome>();
  for (const outcome of batch.outcomes) {
    const { ordinal } = outcome;
    if (batch.attempt < board.attemptOf(ordinal)) continue;
    const earlier = decided.get(ordinal);
    if (earlier !== undefined || !board.isUnderWay(ordinal)) {
      const contradiction = contradictionOf(tx, stage, outcome, earlier);
      if (contradiction !== null) contradictions.push(contradiction);
      continue;
    }
    decided.set(ordinal, outcome);
    if (outcome.status === 'done') {
      done.push(ordinal);
      ended.push(outcome);
    } else if (
      outcome.verdict === 'halt' &&
      (outcome.code === disk_full || !isLastLoss(board.lossesOf(ordinal)))
    ) {
      returned.push({ ordinal, code: outcome.code, charged: outcome.code !== disk_full });
    } else {
      const failure = acceptFailure(tx, stage, batch, outcome, ports.now_ms);
      if (failure !== null) failures.push(failure);
      if (failure?.final === true) ended.push(outcome);
    }
  }
  return { done, failures, returned, ended, contradictions };
}

/** Stores the results of shards that have ended, and counts them. */
function insertEnded(
  tx: Transaction,
  { plan, stage_no }: LiveStage,
  { attempt, worker }: CheckedBatch,
  ended: readonly Outcome[],
  finished_at: number,
): void {
  if (ended.length === 0) return;
  const origin = { attempt, source_plan_no: null, worker, finished_at };
  tx.insertResults(plan.plan_no, plan.revision, resultBatches(stage_no, origin, ended));
  const failed = ended.filter(({ status }) => status === 'failed').length;
  tx.countStage(plan.plan_no, stage_no, { done: ended.length - failed, failed });
}

/** What a shard is charged with must outlive this process: to the store it is a lease of its own that was lost. */
function insertCharges(
  tx: Transaction,
  { plan, stage_no }: LiveStage,
  attempt: number,
  returned: readonly ReturnedShard[],
  now_ms: number,
): void {
  const charged = returned.filter((shard) => shard.charged).map(({ ordinal }) => ordinal);
  if (charged.length === 0) return;
  const ordinals = charged.sort((a, b) => a - b);
  const lost = { bundle: ++plan.bundle, stage_no, ordinals, attempt, state: 'lost' as const };
  tx.insertBundle(plan.plan_no, lost, now_ms);
}

function tellDecided(
  tx: Transaction,
  { plan_id, spec }: LiveStage,
  attempt: number,
  { done, failures }: Pick<Acceptance, 'done' | 'failures'>,
  genesis: GenesisLink,
): StoredEvent[] {
  const ordinals = [...done].sort((a, b) => a - b);
  const told = failures.map((failure) => ({ ...failure, attempt }));
  return tx.appendEvents([
    ...genesis.shards('hxo.shard.done', plan_id, spec.id, ordinals, { attempt, reused: false }),
    ...genesis.failures(plan_id, spec.id, told),
  ]);
}

/** Rejected outcomes of a batch that the audit trail names one by one. */
const rejections_named_max = 10;

/** Audits outcomes that were not what they should be: one entry a batch, so that a broken worker cannot flood the trail. */
export function auditRejections(
  tx: Transaction,
  stage: LiveStage,
  rejections: readonly Rejection[],
  truth: TruthLink,
): StoredEvent[] {
  if (rejections.length === 0) return [];
  const shards = rejections
    .slice(0, rejections_named_max)
    .map(({ ordinal, message }) => ({ ordinal, message }));
  return truth.audit(tx, {
    actor: 'hxo',
    action: 'result.rejected',
    outcome: 'rejected',
    plan_id: stage.plan_id,
    data: { stage: stage.spec.id, code: 'RESULT_REJECTED', rejected: rejections.length, shards },
  });
}

/** Stores an executor error. Null when it was known already. */
function acceptFailure(
  tx: Transaction,
  stage: LiveStage,
  batch: CheckedBatch,
  outcome: Extract<Outcome, { status: 'failed' }>,
  now_ms: number,
): ShardFailure | null {
  const { plan, stage_no, board, spec } = stage;
  const { ordinal, code, message } = outcome;
  const failure = { ordinal, attempt: batch.attempt, code, message, worker: batch.worker, at: now_ms };
  if (!tx.insertFailure(plan.plan_no, stage_no, failure)) return null;
  // A halt gets here when the shard has lost its last lease.
  const final = outcome.verdict !== 'retry' || board.failuresOf(ordinal) + 1 >= spec.retry.max_failures;
  return { ordinal, code, message, final };
}
