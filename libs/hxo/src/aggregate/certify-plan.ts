import type { PlanRow, Segment } from '../checkpoint/checkpoint-store.js';
import { counted } from '../counted.js';
import type { EnginePorts } from '../engine-ports.js';
import { assertAlive, enterPhase } from '../plan/enter-phase.js';
import { PlanStopped, type LivePlan } from '../plan/live-plan.js';
import { untilMended } from '../until-mended.js';
import { tallyOf, type Seal } from './seal-plan.js';

/** Segments whose results become findable in one transaction. */
const reuse_batch_segments = 8;

/**
 * Computes the plan's root from what the store holds, signs it, and ends the plan: succeeded, or failed when any shard
 * failed or was skipped. Throws PlanStopped CERTIFICATION_FAILED when the store is damaged: nothing is signed then.
 */
export async function certifyPlan(plan: LivePlan, ports: EnginePorts): Promise<void> {
  const { background, genesis } = ports;
  const sealing = untilMended(plan, 'Sealing the plan', () => background.sealPlan(plan));
  const seal = await sealing.catch((error: unknown) => {
    if (error instanceof PlanStopped) throw error;
    throw new PlanStopped('failed', 'CERTIFICATION_FAILED', (error as Error).message);
  });
  const { size: leaves, root: merkle_root } = seal.tree;
  await enterPhase(plan, 'certifying', ports, [
    ...genesis.event('hxo.aggregate.ready', plan.plan_id, { leaves }),
    ...genesis.event('hxo.aggregate.certify', plan.plan_id, { leaves, merkle_root }),
  ]);
  await offerForReuse(plan, ports, () => true);
  await finish(plan, seal, ports);
  // Where an earlier offer had lost its artifacts, this plan's may stand in its place, now that it counts.
  await offerForReuse(plan, ports, ({ misses }) => /[mk]/.test(misses));
}

/** Makes results of cacheable executors findable by content id. They count only once the certificate stands. */
async function offerForReuse(
  plan: LivePlan,
  { store }: EnginePorts,
  offered: (segment: Segment) => boolean,
): Promise<void> {
  for (const stage of plan.stages) {
    if (!stage.executor.cacheable) continue;
    let batch: Segment[] = [];
    const fill = async (): Promise<void> => {
      const segments = batch;
      batch = [];
      await store.write((tx) => {
        for (const segment of segments) tx.fillReuse(plan.plan_no, plan.revision, stage.stage_no, segment);
      }, 'engine');
    };
    for (const segment of store.segments(plan.plan_no, stage.stage_no)) {
      if (!offered(segment)) continue;
      batch.push(segment);
      if (batch.length === reuse_batch_segments) await fill();
    }
    if (batch.length > 0) await fill();
  }
}

async function finish(plan: LivePlan, seal: Seal, ports: EnginePorts): Promise<void> {
  const { store, genesis, truth, clock } = ports;
  const { plan_no, revision, plan_id } = plan;
  // Certificates carry whole seconds, and what they carry vouches for the row.
  const finished_at = Math.floor(clock.now_ms() / 1000) * 1000;
  const counts = tallyOf(seal);
  const unfinished = plan.stages.filter((stage) => stage.phase !== 'done').length;
  const phase = unfinished === 0 && counts.failed + counts.skipped === 0 ? 'succeeded' : 'failed';
  const error = errorOf(phase, counts);
  const root = seal.tree.root;
  if (plan.stopped !== null) throw plan.stopped;
  const certificate = truth.certify(
    store.planByNo(plan_no)!,
    store.stages(plan_no),
    seal,
    phase,
    finished_at,
  );
  const events = await store.write((tx) => {
    assertAlive(tx.planPhase(plan_no));
    tx.insertCertificate(plan_no, revision, certificate);
    tx.updatePlan(plan_no, { phase, finished_at, root, error });
    const audited = truth.audit(tx, {
      actor: 'hxo',
      action: 'plan.certify',
      outcome: 'ok',
      plan_id,
      data: { merkle_root: root, phase, key_id: certificate.key_id },
    });
    const done = tx.appendEvents([
      ...genesis.event('hxo.aggregate.finalized', plan_id, { merkle_root: root, truth_certified: true }),
      ...genesis.event('hxo.plan', plan_id, { name: plan.spec.name, phase, revision, error }),
    ]);
    return [...audited, ...done];
  }, 'engine');
  plan.phase = phase;
  genesis.announce(events);
}

/** Why a certified plan failed; null when it succeeded. */
export function errorOf(
  phase: 'succeeded' | 'failed',
  { total, failed, skipped }: { readonly total: number; readonly failed: number; readonly skipped: number },
): PlanRow['error'] {
  if (phase === 'succeeded') return null;
  return {
    code: 'SHARDS_FAILED',
    detail: `${failed} of ${counted(total, 'shard')} failed, ${skipped} skipped.`,
  };
}
