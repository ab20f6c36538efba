import { scriptedStage, with_scripted, writeScript } from './support/scripted.js';
import { System } from './support/system.js';

/** The limits of a plan and its ways to end, over HTTP, on one server. */

const system = new System(with_scripted);

beforeAll(async () => {
  writeScript(system, ...Array.from({ length: 40 }, (_, i) => `ok-${i}`));
  writeScript(system, ...Array.from({ length: 40 }, (_, i) => `wait-150-${i}`));
  writeScript(system, 'flaky-2-a', 'fail-a');
  await system.start();
});
afterAll(() => system.dispose());

const leases = (plan_id: string): number =>
  system.rows('SELECT bundle FROM bundle JOIN plan USING (plan_no) WHERE plan_id = ?', plan_id).length;
const audited = async (plan_id: string): Promise<string[]> => {
  const { body } = await system.ask('GET', '/api/hxo/audit?limit=1000');
  const items = body.items as { action: string; actor: string; plan_id: string | null }[];
  return items.filter((item) => item.plan_id === plan_id).map(({ action, actor }) => `${action} by ${actor}`);
};

it('abort ends a running plan at once, for good, and may be repeated', async () => {
  const plan_id = await system.submit(scriptedStage('slow', ['wait-*']));
  await system.until(plan_id, ({ done_shards }) => done_shards >= 2);
  const aborted = await system.ask('POST', `/api/hxo/abort/${plan_id}`);
  expect(aborted).toMatchObject({ status: 200, body: { plan_id, status: 'aborted' } });
  const leased = leases(plan_id);
  const before = await system.server.client.status(plan_id);
  expect(before).toMatchObject({
    phase: 'aborted',
    truth_certified: false,
    merkle_root: null,
    error: { code: 'ABORTED' },
  });
  expect(await system.ask('POST', `/api/hxo/abort/${plan_id}`)).toMatchObject({
    status: 200,
    body: { status: 'aborted' },
  });

  // Whatever was under way would have ended by now, and another plan has had the workers.
  expect(await system.run(scriptedStage('next', ['ok-*']))).toMatchObject({ phase: 'succeeded' });
  expect(leases(plan_id)).toBe(leased);
  expect(await system.server.client.status(plan_id)).toEqual(before);
  expect(before.done_shards).toBeGreaterThanOrEqual(2);
  expect(before.done_shards + before.pending_shards).toBe(before.total_shards);
  expect(await system.ask('GET', `/api/hxo/report/${plan_id}/certificate`)).toMatchObject({
    status: 409,
    body: { code: 'NOT_CERTIFIED' },
  });
  expect(await audited(plan_id)).toEqual(['plan.submit by admiral', 'plan.abort by admiral']);
});

it('a plan that has ended otherwise cannot be aborted', async () => {
  const { plan_id } = await system.run(scriptedStage('quick', ['ok-*']));
  expect(await system.ask('POST', `/api/hxo/abort/${plan_id}`)).toMatchObject({
    status: 409,
    body: { code: 'PLAN_FINISHED' },
  });
  expect(await audited(plan_id)).toEqual(['plan.submit by admiral', 'plan.certify by hxo']);
});

it('a plan over its timebox_ms is aborted', async () => {
  const begun = performance.now();
  const report = await system.run(scriptedStage('slow', ['wait-*']), { constraints: { timebox_ms: 400 } });
  expect(report).toMatchObject({ phase: 'aborted', final: true, error: { code: 'TIMEBOX_EXCEEDED' } });
  expect(report.error?.detail).toContain('400');
  expect(report.done_shards).toBeLessThan(40);
  expect(performance.now() - begun).toBeGreaterThan(390);
});

it('a plan of more than max_shards fails before anything is dispatched', async () => {
  const report = await system.run([scriptedStage('one', ['ok-*']), scriptedStage('two', ['ok-*'])], {
    constraints: { max_shards: 79 },
  });
  expect(report).toMatchObject({
    phase: 'failed',
    error: { code: 'MAX_SHARDS_EXCEEDED' },
    done_shards: 0,
    truth_certified: false,
  });
  expect(report.error?.detail).toContain('79');
  expect(leases(report.plan_id)).toBe(0);
  const enough = await system.run([scriptedStage('one', ['ok-*']), scriptedStage('two', ['ok-*'])], {
    constraints: { max_shards: 80 },
  });
  expect(enough).toMatchObject({ phase: 'succeeded', total_shards: 80 });
});

it('a stage over its SLO is alerted while it runs, and reported as missed', async () => {
  const stages = [
    scriptedStage('late', ['wait-150-0', 'wait-150-1'], { slo_ms: 40 }),
    scriptedStage('early', ['ok-*'], { slo_ms: 60_000 }),
  ];
  const report = await system.run(stages);
  expect(report.phase).toBe('succeeded');
  expect(report.slo).toMatchObject([
    { stage: 'late', slo_ms: 40, verdict: 'missed' },
    { stage: 'early', slo_ms: 60_000, verdict: 'met' },
  ]);
  const alerts = await system.events('hxo.alert', report.plan_id);
  expect(alerts).toMatchObject([{ topic: 'hxo.alert', data: { code: 'SLO_MISSED', stage: 'late' } }]);
  expect(Date.parse(alerts[0]!.time)).toBeLessThanOrEqual(Date.parse(report.finished_at!) + 1_000);
});

it('a shard that fails is retried after its back-off; one that fails for good is not', async () => {
  const retry = { max_failures: 3, backoff_ms: 150, backoff_max_ms: 1_000 };
  const begun = performance.now();
  const report = await system.run([
    scriptedStage('flaky', ['flaky-*', 'ok-*'], { retry }),
    scriptedStage('failing', ['fail-*'], { retry }),
    scriptedStage('impatient', ['flaky-*'], { retry: { ...retry, max_failures: 2 } }),
  ]);
  // The second delay is twice the first; jitter takes at most half of each.
  expect(performance.now() - begun).toBeGreaterThan(150 / 2 + 300 / 2);
  expect(report.phase).toBe('failed');
  expect(report.stages.map(({ phase }) => phase)).toEqual(['done', 'failed', 'failed']);
  expect(report.failures).toMatchObject([
    { stage: 'failing', code: 'ASKED_TO_FAIL', failures: 1 },
    { stage: 'impatient', message: 'attempt 2 of a flaky shard', failures: 2 },
  ]);
  const { items } = await system.server.client.shards(report.plan_id, { stage: 'flaky', limit: 100 });
  expect(items.filter(({ failures }) => failures > 0)).toMatchObject([
    { attempt: 3, failures: 2, phase: 'done' },
  ]);
  const failed = await system.events('hxo.shard.failed', report.plan_id);
  expect(
    failed
      .flatMap(({ data }) =>
        (data as unknown as { shards: { final: boolean }[] }).shards.map(({ final }) => final),
      )
      .sort(),
  ).toEqual([false, false, false, true, true]);
});

it('dependents of a failed stage are skipped, and failure policies halt what they say', async () => {
  const halting = { retry: { max_failures: 1 } };
  // Bytewise order puts fail-a before ok-…: the first shard of its stage.
  const continued = await system.run([
    scriptedStage('a', ['fail-*', 'ok-*']),
    scriptedStage('b', ['ok-*'], { dependencies: ['a'] }),
    scriptedStage('c', ['ok-*'], { dependencies: ['b'] }),
    scriptedStage('free', ['ok-*']),
  ]);
  expect(continued.stages.map(({ id, phase, done_shards }) => `${id} ${phase} ${done_shards}`)).toEqual([
    'a failed 40',
    'b skipped 0',
    'c skipped 0',
    'free done 40',
  ]);
  expect(continued).toMatchObject({ phase: 'failed', truth_certified: true, skipped_shards: 80 });

  const stage_halted = await system.run([
    scriptedStage('a', ['fail-*', 'wait-*'], { ...halting, failure_policy: 'halt_stage' }),
    scriptedStage('free', ['ok-*']),
  ]);
  expect(stage_halted.stages.map(({ phase }) => phase)).toEqual(['failed', 'done']);
  expect(stage_halted.stages[0]!.skipped_shards).toBeGreaterThan(20);

  const plan_halted = await system.run([
    scriptedStage('a', ['fail-*'], { ...halting, failure_policy: 'halt_plan' }),
    scriptedStage('slow', ['wait-*']),
    scriptedStage('later', ['ok-*'], { dependencies: ['slow'] }),
  ]);
  expect(plan_halted.stages.map(({ phase }) => phase)).toEqual(['failed', 'failed', 'skipped']);
  expect(plan_halted).toMatchObject({ phase: 'failed', truth_certified: true });
  expect(plan_halted.stages[1]!.skipped_shards).toBeGreaterThan(20);
});

it('dependencies run one after the other', async () => {
  const report = await system.run([
    scriptedStage('second', ['ok-*'], { dependencies: ['first'] }),
    scriptedStage('first', ['wait-150-0']),
  ]);
  expect(report.phase).toBe('succeeded');
  const rows = system.rows<{ started_at: number; finished_at: number }>(
    'SELECT stage.started_at, stage.finished_at FROM stage JOIN plan USING (plan_no) WHERE plan_id = ? ORDER BY stage_no',
    report.plan_id,
  );
  expect(rows[0]!.started_at).toBeGreaterThanOrEqual(rows[1]!.finished_at);
});

it('an Idempotency-Key makes one plan of many requests, and refuses another plan', async () => {
  const body = { name: 'once', stages: [scriptedStage('s', ['ok-0'])] };
  const headers = { 'idempotency-key': 'deploy-42' };
  const answers = await Promise.all(
    Array.from({ length: 5 }, () => system.ask('POST', '/api/hxo/create-and-submit', { body, headers })),
  );
  expect(answers.map(({ status }) => status)).toEqual([202, 202, 202, 202, 202]);
  expect(new Set(answers.map(({ body: { plan_id } }) => plan_id)).size).toBe(1);
  expect(
    await system.ask('POST', '/api/hxo/create-and-submit', { body: { ...body, name: 'twice' }, headers }),
  ).toMatchObject({
    status: 422,
    body: { code: 'IDEMPOTENCY_KEY_REUSED' },
  });
  expect(system.rows(`SELECT plan_id FROM plan WHERE name IN ('once', 'twice')`)).toHaveLength(1);
});

it('denials are audited, and audit events shown to those who may see them', async () => {
  const body = { name: 'p', stages: [scriptedStage('s', ['ok-0'])] };
  expect(
    await system.ask('POST', '/api/hxo/create-and-submit', { body, authorization: 'Captain' }),
  ).toMatchObject({ status: 403 });
  expect(await system.ask('POST', '/api/hxo/create-and-submit', { body, authorization: null })).toMatchObject(
    { status: 401 },
  );
  const { body: audit } = await system.ask('GET', '/api/hxo/audit?limit=1000', { authorization: 'Captain' });
  const denials = (audit.items as { action: string; actor: string; outcome: string }[]).filter(
    ({ outcome }) => outcome === 'denied',
  );
  expect(denials.map(({ action, actor }) => `${action} ${actor}`)).toEqual([
    'access.denied captain',
    'access.denied anonymous',
  ]);

  const topicsSeen = async (authorization: string | null): Promise<Set<unknown>> => {
    const { body: page } = await system.ask('GET', '/api/genesis/events?limit=1000', { authorization });
    return new Set((page.items as { topic: string }[]).map(({ topic }) => topic));
  };
  expect(await topicsSeen('Captain')).toContain('hxo.audit');
  expect(await topicsSeen(null)).not.toContain('hxo.audit');
  expect(await topicsSeen(null)).toContain('hxo.plan');
  expect(
    await system.ask('GET', '/api/genesis/events?topic=hxo.audit', { authorization: null }),
  ).toMatchObject({ status: 401 });
});

it('the journal holds every event of the store, in order', async () => {
  await system.server.process.stop();
  expect(system.storedEvents().length).toBeGreaterThan(100);
  expect(system.journal()).toEqual(system.storedEvents());
});
