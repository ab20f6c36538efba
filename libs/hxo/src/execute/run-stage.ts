import type { StageRow } from '../checkpoint/checkpoint-store.js';
import type { EnginePorts } from '../engine-ports.js';
import { assertAlive } from '../plan/enter-phase.js';
import type { LiveStage } from '../plan/live-plan.js';
import { isSettled, isTerminal } from '../plan/phases.js';
import { untilMended } from '../until-mended.js';
import type { StagePhase } from '../views.js';
import type { StageOutput } from './contract.js';

/** Code of the alert. */
const slo_missed = 'SLO_MISSED';

export type StageEnd = 'done' | 'failed' | 'skipped';

/** Executes a stage's shards and collects its output. Throws PlanStopped when the plan is stopped meanwhile. */
export async function runStage(stage: LiveStage, ports: EnginePorts): Promise<StageEnd> {
  if (isSettled(stage.phase)) return stage.phase as StageEnd;
  const resumed = stage.phase !== 'ready';
  await begin(stage, ports);
  const slo = watchSlo(stage, resumed, ports);
  try {
    const halted = stage.spec.failure_policy !== 'continue' && stage.board.counts().failed > 0;
    if (halted || stage.plan.halted) stage.board.halt();
    await ports.federation.execute(stage);
    const { failed, skipped } = stage.board.counts();
    if (failed + skipped > 0) return await end(stage, 'failed', null, ports);
    const output = await collect(stage, ports);
    return await end(stage, 'done', output, ports);
  } finally {
    clearTimeout(slo);
  }
}

/** Ends a stage that may not run: its shards are skipped, save those that were done by reuse. */
export async function skipStage(stage: LiveStage, ports: EnginePorts): Promise<StageEnd> {
  if (isSettled(stage.phase)) return stage.phase as StageEnd;
  stage.board.halt();
  return end(stage, 'skipped', null, ports);
}

async function begin(stage: LiveStage, ports: EnginePorts): Promise<void> {
  stage.begun_ms = ports.clock.monotonic_ms();
  if (stage.phase !== 'ready') return;
  const started_at = ports.clock.now_ms();
  await enter(stage, 'running', { started_at }, ports);
  stage.started_at = started_at;
}

/** Runs the executor's collector over the stage's results. Null when it has none. */
async function collect(stage: LiveStage, ports: EnginePorts): Promise<StageOutput | null> {
  if (stage.executor.collect === undefined) return null;
  if (stage.phase === 'running') await enter(stage, 'collecting', {}, ports);
  const { plan, stage_no, spec } = stage;
  const results = await untilMended(plan, `Gathering the results of stage ${spec.id}`, () =>
    ports.background.gatherResults(plan, stage_no),
  );
  return ports.federation.collect(stage, results.digest);
}

async function end(
  stage: LiveStage,
  phase: StageEnd,
  output: StageOutput | null,
  ports: EnginePorts,
): Promise<StageEnd> {
  const { skipped } = stage.board.counts();
  await enter(stage, phase, { finished_at: ports.clock.now_ms(), skipped, output }, ports);
  return phase;
}

async function enter(
  stage: LiveStage,
  phase: StagePhase,
  change: Partial<Pick<StageRow, 'started_at' | 'finished_at' | 'skipped' | 'output'>>,
  ports: EnginePorts,
): Promise<void> {
  if (stage.plan.stopped !== null) throw stage.plan.stopped;
  await ports.store.write((tx) => {
    assertAlive(tx.planPhase(stage.plan.plan_no));
    tx.updateStage(stage.plan.plan_no, stage.stage_no, { ...change, phase });
  }, 'engine');
  stage.phase = phase;
}

/** Raises an alert when the stage takes longer than its SLO: one, however often the process is restarted. */
function watchSlo(stage: LiveStage, resumed: boolean, ports: EnginePorts): NodeJS.Timeout | undefined {
  const { spec, plan } = stage;
  const elapsed_ms = ports.clock.now_ms() - (stage.started_at ?? ports.clock.now_ms());
  const left_ms = Math.max(0, spec.slo_ms - elapsed_ms);
  if (left_ms > 2 ** 31 - 1) return undefined;
  const alert = async (): Promise<void> => {
    if (plan.stopped !== null || (resumed && (await hasAlerted(stage, ports)))) return;
    const detail = `Stage ${spec.id} is running longer than its SLO of ${spec.slo_ms} ms.`;
    const data = { code: slo_missed, stage: spec.id, detail };
    const events = await ports.store.write((tx) => {
      if (isTerminal(tx.planPhase(plan.plan_no))) return [];
      return tx.appendEvents(ports.genesis.event('hxo.alert', plan.plan_id, data));
    }, 'engine');
    ports.genesis.announce(events);
  };
  return setTimeout(() => void alert().catch(() => {}), left_ms).unref();
}

/** Has an earlier process told that the stage misses its SLO? */
async function hasAlerted({ spec, plan_id }: LiveStage, { store }: EnginePorts): Promise<boolean> {
  const query = { topic: 'hxo.alert', plan_id, limit: 1_000 };
  for (let after = 0; ;) {
    const alerts = await store.events({ ...query, after });
    const told = alerts.some(({ data }) => {
      const { code, stage } = data as { readonly code: string; readonly stage: string | null };
      return code === slo_missed && stage === spec.id;
    });
    if (told || alerts.length < query.limit) return told;
    after = alerts.at(-1)!.id;
  }
}
