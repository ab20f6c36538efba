import type { Json } from '#truth';
import {
  reuse_misses,
  type CheckpointStore,
  type PlanRow,
  type StageRow,
} from './checkpoint/checkpoint-store.js';
import type { Clock } from './clock.js';
import { counted } from './counted.js';
import { verification_statement } from './links/truth.link.js';
import { isTerminal } from './plan/phases.js';
import type { ReportView, ReuseMisses, SloView, StatusView } from './views.js';

/** Failures that a report shows itself; the others are a page away. */
const failures_shown = 100;

/** Everything that is known of a plan in one document: what `hxo report` prints and `hxo verify` checks. */
export function reportView(
  plan: PlanRow,
  stages: readonly StageRow[],
  status: StatusView,
  store: Pick<CheckpointStore, 'failedResults' | 'failuresOf' | 'certificate'>,
  clock: Clock,
): ReportView {
  const certificate = store.certificate(plan.plan_no, plan.revision);
  return {
    ...status,
    final: isTerminal(plan.phase),
    slo: stages.map((stage, i) =>
      sloView(plan.spec.stages[i]!.id, plan.spec.stages[i]!.slo_ms, stage, clock.now_ms()),
    ),
    reuse: reuseView(plan, stages, status),
    failures: store
      .failedResults(plan.plan_no, plan.revision, failures_shown)
      .map(({ stage_no, result }) => ({
        stage: plan.spec.stages[stage_no]!.id,
        ordinal: result.ordinal,
        ...(JSON.parse(result.value) as { readonly code: string; readonly message: string }),
        failures: store.failuresOf(plan.plan_no, stage_no, result.ordinal).length,
      })),
    outputs: stages.flatMap((stage, i) =>
      stage.output === null ? [] : [{ stage: plan.spec.stages[i]!.id, ...stage.output }],
    ),
    notes: notesOf(plan, stages, status, certificate !== null),
    certificate: certificate === null ? null : certificate.envelope,
    signer: certificate === null ? null : { key_id: certificate.key_id, public_key: certificate.public_key },
  };
}

function sloView(stage_id: string, slo_ms: number, stage: StageRow, now_ms: number): SloView {
  if (stage.started_at === null) return { stage: stage_id, slo_ms, elapsed_ms: null, verdict: 'not_started' };
  const elapsed_ms = Math.max(0, (stage.finished_at ?? now_ms) - stage.started_at);
  if (elapsed_ms > slo_ms) return { stage: stage_id, slo_ms, elapsed_ms, verdict: 'missed' };
  return { stage: stage_id, slo_ms, elapsed_ms, verdict: stage.finished_at === null ? 'running' : 'met' };
}

function reuseView(plan: PlanRow, stages: readonly StageRow[], status: StatusView): ReportView['reuse'] {
  const rows = stages.map((stage, i) => {
    const { done_shards, failed_shards, reused_shards } = status.stages[i]!;
    const executed = done_shards + failed_shards - reused_shards;
    return { stage: plan.spec.stages[i]!.id, reused: reused_shards, executed, misses: stage.misses };
  });
  const misses: Record<string, number> = {};
  for (const reason of Object.values(reuse_misses)) {
    const shards = rows.reduce((sum, row) => sum + (row.misses[reason] ?? 0), 0);
    if (shards > 0) misses[reason] = shards;
  }
  const total = (column: 'reused' | 'executed'): number => rows.reduce((sum, row) => sum + row[column], 0);
  return {
    reused: total('reused'),
    executed: total('executed'),
    misses: misses satisfies ReuseMisses,
    stages: rows,
  };
}

function notesOf(
  plan: PlanRow,
  stages: readonly StageRow[],
  status: StatusView,
  certified: boolean,
): string[] {
  const notes: string[] = [];
  stages.forEach((stage, i) => {
    const { id } = plan.spec.stages[i]!;
    if (stage.matched === 0) notes.push(`Stage ${id} found nothing to do.`);
    if ((stage.truncated ?? 0) > 0) {
      notes.push(
        `Stage ${id} was capped by ${status.stages[i]!.capped_by ?? 'its partitioner'}: ${stage.taken} of ${counted(stage.matched!, 'item')} taken, ${stage.truncated} left out.`,
      );
    }
  });
  if (certified) notes.push(verification_statement);
  else if (plan.phase === 'aborted' || plan.phase === 'failed') {
    notes.push('The plan ended before it could be certified, so there is no root and no certificate.');
  }
  return notes;
}

/** The part of a result's row that a reader may see as its value; null for a failure. */
export function valueOf(result: { readonly status: 'done' | 'failed'; readonly value: string }): Json {
  return result.status === 'done' ? (JSON.parse(result.value) as Json) : null;
}
