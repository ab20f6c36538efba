import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import type { Json } from '#truth';
import {
  collected,
  done,
  failed,
  ordinalsOf,
  succeed,
  type Work,
} from '../../../test/engine/fake-transport.js';
import { by_waves, catalogue, RunningEngine, type Stage } from '../../../test/engine/running-engine.js';
import type { Executor } from './execute/contract.js';
import type { Partitioner } from './partition/contract.js';
import type { PlanId } from './plan/plan-spec.js';
import { ConfigError } from './plan/stage-config.js';
import type { StatusView } from './views.js';

let hxo: RunningEngine;
const start = async (...options: Parameters<typeof RunningEngine.start>): Promise<RunningEngine> =>
  (hxo = await RunningEngine.start(...options));
afterEach(() => hxo.close());

const stage = (id: string, count: number, more: Record<string, Json> = {}): Stage => ({
  id,
  config: { waves: [count] },
  ...more,
});

/** Fails the first shard of the stages named, succeeds with everything else. */
const failFirstOf =
  (...stages: string[]): Work =>
  async (bundle, worker) => {
    if (bundle.work.type === 'collect') return succeed(bundle, worker);
    await sleep(1);
    const bad = stages.includes(bundle.stage);
    await worker.report(
      ordinalsOf(bundle).map((ordinal) => (bad && ordinal === 0 ? failed(0, 'fail') : done(ordinal))),
      true,
    );
  };

const phasesOf = (status: StatusView): Record<string, string> =>
  Object.fromEntries(status.stages.map(({ id, phase }) => [id, phase]));
const topicsOf = (plan_id: PlanId | string): string[] =>
  hxo.events.filter((event) => event.plan_id === plan_id).map(({ topic }) => topic);

describe('a stage that works on what others make', () => {
  const late = (more: Record<string, Json> = {}): Stage =>
    stage('late', 3, { partitioner: 'by_late_waves', dependencies: ['first'], ...more });

  it('is partitioned when its dependencies are done; until then the total is not final', async () => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    await start({
      work: async (bundle, worker) => {
        if (bundle.stage === 'first') await held;
        await succeed(bundle, worker);
      },
    });
    const plan_id = await hxo.submit([late(), stage('first', 2)]);
    const before = await hxo.until(plan_id, ({ phase }) => phase === 'running');
    expect(before).toMatchObject({ total_shards: 2, total_final: false, phase: 'running' });
    expect(phasesOf(before)).toMatchObject({ late: 'waiting' });
    release();
    const status = await hxo.end(plan_id);
    expect(status).toMatchObject({ phase: 'succeeded', total_shards: 5, done_shards: 5, total_final: true });
  });

  it('is partitioned with the others when it depends on nothing', async () => {
    await start();
    const status = await hxo.run([late({ dependencies: [] })]);
    expect(status).toMatchObject({ phase: 'succeeded', done_shards: 3 });
  });

  it('is skipped, never partitioned, when a dependency fails', async () => {
    await start({ work: failFirstOf('first') });
    const status = await hxo.run([stage('first', 2), late()]);
    expect(phasesOf(status)).toEqual({ first: 'failed', late: 'skipped' });
    expect(status).toMatchObject({ phase: 'failed', total_shards: 2, truth_certified: true });
  });

  it('counts for max_shards before any shard of its own runs', async () => {
    await start();
    const status = await hxo.run([stage('first', 2), late()], { max_shards: 4 });
    expect(status).toMatchObject({ phase: 'failed', done_shards: 2, error: { code: 'MAX_SHARDS_EXCEEDED' } });
  });

  it('has the same root when a restart comes between', async () => {
    const roots: (string | null)[] = [];
    for (const restarts of [false, true]) {
      await start({ durable: false });
      const plan_id = await hxo.submit([stage('first', 2), late({ config: { waves: [2_000] } })]);
      if (restarts) {
        await hxo.until(plan_id, ({ stages }) => stages[1]!.phase !== 'waiting');
        await hxo.restart();
      }
      roots.push((await hxo.end(plan_id)).merkle_root);
      if (!restarts) await hxo.close();
    }
    expect(roots[0]).toMatch(/^[0-9a-f]{64}$/);
    expect(roots[1]).toBe(roots[0]);
  });
});

describe('stages', () => {
  it('run in the order of their dependencies, and side by side otherwise', async () => {
    const order: string[] = [];
    await start({
      work: async (bundle, worker) => {
        order.push(bundle.stage);
        await succeed(bundle, worker);
      },
    });
    const status = await hxo.run([
      stage('last', 2, { dependencies: ['left', 'right'] }),
      stage('left', 2, { dependencies: ['first'] }),
      stage('right', 2, { dependencies: ['first'] }),
      stage('first', 2, { executor: 'collecting' }),
    ]);
    expect(status).toMatchObject({ phase: 'succeeded', done_shards: 8, truth_certified: true });
    const firsts = order.lastIndexOf('first');
    expect(order.indexOf('left')).toBeGreaterThan(firsts);
    expect(order.indexOf('right')).toBeGreaterThan(firsts);
    expect(order.indexOf('last')).toBeGreaterThan(
      Math.max(order.lastIndexOf('left'), order.lastIndexOf('right')),
    );
  });

  it('without anything to do succeed', async () => {
    await start();
    const status = await hxo.run([stage('none', 0), stage('also', 0, { executor: 'collecting' })]);
    expect(status).toMatchObject({ phase: 'succeeded', total_shards: 0, truth_certified: true });
    expect(hxo.transport.bundles.map(({ work }) => work.type)).toEqual(['collect']);
  });

  it('go on after a restart when their config is none of the new build, once they are partitioned', async () => {
    await start({ durable: false, work: () => new Promise(() => {}) });
    const partitioners = catalogue.partitioners as Map<string, Partitioner>;
    const by_turns = partitioners.get('by_turns')!;
    const plan_id = await hxo.submit([stage('s', 30, { partitioner: 'by_turns' })]);
    await hxo.until(plan_id, ({ phase }) => phase === 'running');
    const parse = (): never => {
      throw new ConfigError('waves', 'waves is no field of by_turns.');
    };
    partitioners.set('by_turns', { ...by_turns, parse });
    try {
      await hxo.restart();
      expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded', done_shards: 30 });
    } finally {
      partitioners.set('by_turns', by_turns);
    }
  });
});

describe('failure policies', () => {
  const plan = (failure_policy: string): Stage[] => [
    stage('bad', 300, { failure_policy }),
    stage('beside', 2_000),
    stage('after', 5, { dependencies: ['bad'] }),
    stage('later', 5, { dependencies: ['after'] }),
  ];

  it('continue: the rest of the stage goes on, its dependents are skipped', async () => {
    await start({ slots: 1, work: failFirstOf('bad') });
    const status = await hxo.run(plan('continue'));
    expect(status).toMatchObject({
      phase: 'failed',
      failed_shards: 1,
      skipped_shards: 10,
      done_shards: 2_299,
    });
    expect(phasesOf(status)).toEqual({ bad: 'failed', beside: 'done', after: 'skipped', later: 'skipped' });
  });

  it('halt_stage: the stage stops, others go on', async () => {
    await start({ slots: 1, work: failFirstOf('bad') });
    const status = await hxo.run(plan('halt_stage'));
    expect(phasesOf(status)).toEqual({ bad: 'failed', beside: 'done', after: 'skipped', later: 'skipped' });
    expect(status.stages[0]!.skipped_shards).toBeGreaterThan(200);
    expect(status.stages[1]!.done_shards).toBe(2_000);
  });

  it('halt_plan: everything stops, and what was done is certified', async () => {
    await start({ slots: 1, work: failFirstOf('bad') });
    const status = await hxo.run(plan('halt_plan'));
    expect(phasesOf(status)).toEqual({ bad: 'failed', beside: 'failed', after: 'skipped', later: 'skipped' });
    expect(status.stages[1]!.skipped_shards).toBeGreaterThan(1_500);
    expect(status.truth_certified).toBe(true);
  });

  it('halt_plan holds after a crash: stages that had begun end, and none begins', async () => {
    const held: Work = async (bundle, worker) => {
      if (bundle.stage === 'bad') await worker.report([failed(0, 'fail')], true);
      // Nothing else is ever heard of: the process dies first.
    };
    await start({ slots: 4, work: held });
    const plan_id = await hxo.submit([
      stage('bad', 1, { failure_policy: 'halt_plan' }),
      stage('beside', 50),
      stage('after', 5, { dependencies: ['beside'] }),
    ]);
    await hxo.until(plan_id, (status) => status.failed_shards === 1);
    const begun = hxo.status(plan_id).stages[1]!.phase;
    await hxo.restart();
    const status = await hxo.end(plan_id);
    expect(begun).toBe('running');
    expect(phasesOf(status)).toEqual({ bad: 'failed', beside: 'failed', after: 'skipped' });
    expect(hxo.transport.bundles).toEqual([]);
    expect(status).toMatchObject({ done_shards: 0, failed_shards: 1, skipped_shards: 55 });
  });
});

describe('limits', () => {
  it('MAX_SHARDS_EXCEEDED fails the plan before anything is dispatched', async () => {
    await start();
    const status = await hxo.run([stage('small', 5), stage('large', 600)], { max_shards: 600 });
    expect(status).toMatchObject({ phase: 'failed', merkle_root: null, truth_certified: false });
    expect(status.error).toEqual({
      code: 'MAX_SHARDS_EXCEEDED',
      detail: expect.stringContaining('Stage large brings the plan to more than 600 shards.') as string,
    });
    expect(hxo.transport.bundles).toEqual([]);
    expect(phasesOf(status)).toEqual({ small: 'skipped', large: 'failed' });
    // Events are told in the turn after their commit.
    await sleep(5);
    expect(topicsOf(status.plan_id)).toContain('hxo.aggregate.failed');
  });

  it('as many shards as max_shards are allowed', async () => {
    await start();
    const status = await hxo.run([stage('a', 300), stage('b', 300)], { max_shards: 600 });
    expect(status).toMatchObject({ phase: 'succeeded', total_shards: 600 });
  });

  it('timebox_ms aborts a plan that overruns, once', async () => {
    await start({ work: async () => {} });
    const status = await hxo.run([stage('endless', 10)], { timebox_ms: 150 });
    expect(status).toMatchObject({ phase: 'aborted', error: { code: 'TIMEBOX_EXCEEDED' }, eta_seconds: 0 });
    expect(hxo.transport.cancelled).toEqual([status.plan_id]);
    expect(await hxo.auditOf('plan.abort')).toHaveLength(1);
  });

  it('timebox_ms goes on counting over a restart', async () => {
    await start({ work: async () => {} });
    const plan_id = await hxo.submit([stage('endless', 1)], { timebox_ms: 2_000 });
    await hxo.until(plan_id, (status) => status.running_shards === 1);
    await sleep(1_000);
    const restarted = performance.now();
    await hxo.restart(async () => {});
    expect(await hxo.end(plan_id)).toMatchObject({ phase: 'aborted', error: { code: 'TIMEBOX_EXCEEDED' } });
    expect(performance.now() - restarted).toBeLessThan(1_900);
  });

  it('an SLO that is missed raises one alert, and stops nothing', async () => {
    await start({
      work: async (bundle, worker) => {
        await sleep(bundle.stage === 'slow' ? 120 : 0);
        await succeed(bundle, worker);
      },
    });
    const status = await hxo.run([stage('slow', 1, { slo_ms: 30 }), stage('fast', 1)]);
    expect(status.phase).toBe('succeeded');
    const alerts = hxo.events.filter(({ topic }) => topic === 'hxo.alert');
    expect(alerts.map(({ data }) => data)).toEqual([
      { code: 'SLO_MISSED', stage: 'slow', detail: 'Stage slow is running longer than its SLO of 30 ms.' },
    ]);
  });

  it('an SLO that is missed raises one alert over restarts, and one of each stage', async () => {
    await start({ slots: 4, work: async () => {} });
    const plan_id = await hxo.submit([stage('late', 1, { slo_ms: 1 }), stage('later', 1, { slo_ms: 700 })]);
    const alerts = (): unknown[] =>
      hxo.events
        .filter(
          ({ topic, data }) => topic === 'hxo.alert' && (data as { code: string }).code === 'SLO_MISSED',
        )
        .map(({ data }) => (data as { stage: string }).stage);
    await hxo.until(plan_id, () => alerts().length === 1);
    await hxo.restart(async () => {});
    await hxo.until(plan_id, () => alerts().includes('later'));
    await hxo.restart();
    expect((await hxo.end(plan_id)).phase).toBe('succeeded');
    expect(alerts()).toEqual(['late', 'later']);
  });
});

describe('abort', () => {
  it('is answered while the transport cannot be told', async () => {
    await start({ slots: 1, work: () => sleep(200) });
    hxo.transport.cancel_hangs = true;
    const plan_id = await hxo.submit([stage('s', 3)]);
    const { plan_no } = hxo.store.planById(plan_id)!;
    expect(await hxo.engine.abort(plan_no, plan_id, { role: 'admiral' })).toBe('aborted');
  });

  it('while dispatching: nothing is leased or accepted once it is answered, and the plan ends once', async () => {
    await start({
      slots: 8,
      work: async (bundle, worker) => {
        await sleep(Math.random() * 3);
        await succeed(bundle, worker);
      },
    });
    for (let delay_ms = 0; delay_ms < 24; delay_ms += 2) {
      const plan_id = await hxo.submit([stage('s', 3_000), stage('t', 3_000, { executor: 'collecting' })]);
      const { plan_no } = hxo.store.planById(plan_id)!;
      await sleep(delay_ms);
      const answers = await Promise.all(
        [1, 2, 3].map(() => hxo.engine.abort(plan_no, plan_id, { role: 'admiral' })),
      );
      expect(answers).toEqual(['aborted', 'aborted', 'aborted']);
      const [dispatched, before] = [hxo.transport.bundles.length, hxo.status(plan_id)];
      const leased = [...hxo.store.bundles(plan_no)].length;
      await sleep(15);
      // Events are told in a turn of their own, which a slow machine may not have come to.
      await turn();
      expect([...hxo.store.bundles(plan_no)]).toHaveLength(leased);
      expect(hxo.transport.bundles).toHaveLength(dispatched);
      expect(hxo.status(plan_id)).toEqual(before);
      const results = [0, 1].map((stage_no) => [...hxo.store.results(plan_no, 1, stage_no)].length);
      expect(results[0]! + results[1]!).toBe(before.done_shards);
      expect(before).toMatchObject({ phase: 'aborted', merkle_root: null, error: { code: 'ABORTED' } });
      const terminal = hxo.events.filter(
        ({ topic, plan_id: of, data }) =>
          topic === 'hxo.plan' &&
          of === plan_id &&
          ['aborted', 'failed', 'succeeded'].includes((data as { phase: string }).phase),
      );
      expect(terminal).toHaveLength(1);
    }
    expect(await hxo.auditOf('plan.abort')).toHaveLength(12);
  });

  it('before a lease is lost: nothing is stored of the loss', async () => {
    await start({ slots: 1, work: async () => {} });
    const plan_id = await hxo.submit([stage('s', 1)]);
    await hxo.until(plan_id, (status) => status.running_shards === 1);
    const { plan_no } = hxo.store.planById(plan_id)!;
    const aborted = hxo.engine.abort(plan_no, plan_id, { role: 'admiral' });
    hxo.transport.workerOf(hxo.transport.bundles[0]!).die();
    expect(await aborted).toBe('aborted');
    await turn();
    expect([...hxo.store.bundles(plan_no)].map(({ state }) => state)).not.toContain('lost');
    expect(hxo.events.filter(({ topic }) => topic === 'hxo.alert')).toEqual([]);
  });

  it('says what became of every stage', async () => {
    await start({
      slots: 4,
      work: async (bundle, worker) => (bundle.stage === 'endless' ? undefined : succeed(bundle, worker)),
    });
    const plan_id = await hxo.submit([
      stage('before', 3),
      stage('endless', 4, { dependencies: ['before'] }),
      stage('after', 5, { dependencies: ['endless'] }),
    ]);
    await hxo.until(plan_id, (status) => status.stages[1]!.phase === 'running');
    await hxo.engine.abort(hxo.store.planById(plan_id)!.plan_no, plan_id, { role: 'admiral' });
    const { stages, finished_at, waiting_for, skipped_shards } = hxo.status(plan_id);
    expect(stages.map((each) => [each.phase, each.skipped_shards, each.total_final])).toEqual([
      ['done', 0, true],
      ['aborted', 4, true],
      ['skipped', 5, true],
    ]);
    expect(stages.slice(1).map((each) => each.finished_at)).toEqual([finished_at, finished_at]);
    expect([waiting_for, skipped_shards]).toEqual([null, 9]);
  });

  it('before a stage is partitioned leaves its total open for good', async () => {
    await start({ work: async () => {} });
    const late = { partitioner: 'by_late_waves', dependencies: ['endless'] };
    const plan_id = await hxo.submit([stage('endless', 4), stage('late', 5, late)]);
    await hxo.until(plan_id, (status) => status.stages[0]!.phase === 'running');
    await hxo.engine.abort(hxo.store.planById(plan_id)!.plan_no, plan_id, { role: 'admiral' });
    const { stages, total_shards, total_final } = hxo.status(plan_id);
    expect({ total_shards, total_final }).toEqual({ total_shards: 4, total_final: false });
    expect(stages.map((each) => [each.phase, each.total_final])).toEqual([
      ['aborted', true],
      ['skipped', false],
    ]);
  });

  it('of a plan that was only created leaves it without a time of submission', async () => {
    await start();
    const { spec } = hxo.store.planById((await hxo.run([stage('s', 1)])).plan_id)!;
    const [never, later] = [
      await hxo.engine.store(spec, 'created', { role: 'admiral' }),
      await hxo.engine.store(spec, 'created', { role: 'admiral' }),
    ];
    expect(hxo.status(later)).toMatchObject({ phase: 'created', submitted_at: null });
    await hxo.engine.abort(hxo.store.planById(never)!.plan_no, never, { role: 'admiral' });
    expect(hxo.status(never)).toMatchObject({ phase: 'aborted', submitted_at: null, total_final: false });
    expect(phasesOf(hxo.status(never))).toEqual({ s: 'skipped' });
    const before = Math.floor(Date.now() / 1_000);
    await hxo.engine.submit(hxo.store.planById(later)!.plan_no, { role: 'admiral' });
    const { submitted_at } = await hxo.end(later);
    expect(Date.parse(submitted_at!) / 1_000).toBeGreaterThanOrEqual(before);
  });

  it('answers what a plan came to that had ended before', async () => {
    await start();
    const { plan_id } = await hxo.run([stage('s', 1)]);
    const { plan_no } = hxo.store.planById(plan_id)!;
    expect(await hxo.engine.abort(plan_no, plan_id, { role: 'admiral' })).toBe('succeeded');
    expect(hxo.status(plan_id as PlanId).phase).toBe('succeeded');
  });

  it('as the plan is being certified gives one end or the other', async () => {
    await start();
    const ends = new Set<string>();
    for (let turns = 0; turns < 30; turns++) {
      const plan_id = await hxo.submit([stage('s', 2)]);
      const { plan_no } = hxo.store.planById(plan_id)!;
      for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
      const answer = await hxo.engine.abort(plan_no, plan_id, { role: 'admiral' });
      const { phase, truth_certified } = hxo.status(plan_id);
      expect([phase, truth_certified]).toEqual([answer, answer === 'succeeded']);
      ends.add(phase);
    }
    expect(ends).toContain('aborted');
  });
});

describe('events', () => {
  it('are told once each, in the order of their commits, however many commits share a batch', async () => {
    await start({ work: async () => {} });
    const submitAndAbort = async (): Promise<void> => {
      const plan_id = await hxo.submit([stage('s', 3)]);
      const { plan_no } = hxo.store.planById(plan_id)!;
      await Promise.all([1, 2].map(() => hxo.engine.abort(plan_no, plan_id, { role: 'admiral' })));
    };
    await Promise.all(Array.from({ length: 40 }, submitAndAbort));
    await sleep(20);
    const stored = await hxo.store.events({ after: 0, limit: 1_000 });
    expect(stored.length).toBeGreaterThan(4 * 40);
    expect(hxo.events.map(({ id }) => Number(id))).toEqual(stored.map(({ id }) => id));
  });
});

describe('a plan that this process cannot run', () => {
  const executors = catalogue.executors as Map<string, Executor>;
  const plain = executors.get('plain')!;
  afterEach(() => void executors.set('plain', plain));

  /** What the engine logs in these specs is expected. */
  const logged = (): string => hxo.log.splice(0).join();

  it('waits for the version of its executors: nothing of it fails, and the earlier build ends it', async () => {
    await start({ work: async () => {} });
    const plan_id = await hxo.submit([stage('s', 3)]);
    await hxo.until(plan_id, (status) => status.running_shards > 0);
    executors.set('plain', { ...plain, version: '2' });
    await hxo.restart();
    expect(hxo.engine.waitsFor(plan_id)).toBe(
      'The plan needs version 1 of executor plain; this build has 2. ' +
        'Run the earlier build to finish the plan, or abort it and submit it again.',
    );
    expect(logged()).toContain(`Plan ${plan_id} waits: The plan needs version 1`);
    expect(hxo.status(plan_id).phase).toBe('running');
    executors.set('plain', plain);
    await hxo.restart();
    expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded', done_shards: 3 });
    expect(hxo.store.failures(hxo.store.planById(plan_id)!.plan_no, 0)).toEqual([]);
  });

  it('can be aborted while it waits', async () => {
    await start({ work: async () => {} });
    const plan_id = await hxo.submit([stage('s', 3)]);
    executors.delete('plain');
    await hxo.restart();
    expect(logged()).toContain('Executor plain is not in this build');
    const { plan_no } = hxo.store.planById(plan_id)!;
    expect(await hxo.engine.abort(plan_no, plan_id, { role: 'admiral' })).toBe('aborted');
    expect([hxo.status(plan_id).phase, hxo.engine.waitsFor(plan_id)]).toEqual(['aborted', null]);
  });

  it('is submitted all the same when it was created before the upgrade, and waits', async () => {
    await start();
    const spec = hxo.store.planById(await hxo.submit([stage('s', 3)]))!.spec;
    const plan_id = await hxo.engine.store(spec, 'created', { role: 'admiral' });
    executors.set('plain', { ...plain, version: '2' });
    await hxo.engine.submit(hxo.store.planById(plan_id)!.plan_no, { role: 'admiral' });
    expect(hxo.engine.waitsFor(plan_id)).toContain('The plan needs version 1 of executor plain');
    expect(logged()).toContain(`Plan ${plan_id} waits`);
    executors.set('plain', plain);
    await hxo.restart();
    expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded' });
  });

  it.each([
    [`UPDATE stage SET misses = '{' WHERE plan_no = ?`, /Column misses of a stage row .* is damaged/],
    ['DELETE FROM stage WHERE plan_no = ?', /Column stage_no of a stage row .* is damaged/],
    [`UPDATE plan SET spec = '{' WHERE plan_no = ?`, /Column spec of a plan row .* is damaged/],
    [`UPDATE plan SET spec = 'null' WHERE plan_no = ?`, /Column spec or spec_digest of a plan row/],
    [
      `UPDATE plan SET spec_digest = x'00' WHERE plan_no = ?`,
      /Column spec_digest of a plan row .* is damaged/,
    ],
  ])('waits when a row of it is damaged, and the others go on: %s', async (sql, message) => {
    await start({ work: async () => {} });
    const [damaged, sound] = [await hxo.submit([stage('s', 3)]), await hxo.submit([stage('s', 3)])];
    await hxo.until(damaged, (status) => status.running_shards > 0);
    const { plan_no } = hxo.store.planById(damaged)!;
    const other = new Database(join(hxo.dir, 'hxo.db'));
    other.prepare(sql).run(plan_no);
    other.close();
    await hxo.restart();
    expect(await hxo.end(sound)).toMatchObject({ phase: 'succeeded' });
    expect(hxo.engine.waitsFor(damaged)).toMatch(message);
    expect(logged()).toContain(`Plan ${damaged} waits`);
  });
});

it('fails a plan whose shards can no longer be read, instead of leasing them again and again', async () => {
  await start({ slots: 1, work: () => sleep(50) });
  const plan_id = await hxo.submit([stage('s', 600)]);
  await hxo.until(plan_id, (status) => status.running_shards > 0);
  await hxo.restart(() => sleep(1_000));
  const { plan_no } = hxo.store.planById(plan_id)!;
  const other = new Database(join(hxo.dir, 'hxo.db'));
  other.prepare(`UPDATE segment SET lines = '' WHERE plan_no = ?`).run(plan_no);
  other.close();
  await hxo.restart();
  expect(await hxo.end(plan_id)).toMatchObject({ phase: 'failed', error: { code: 'STORE_DAMAGED' } });
});

describe('the root', () => {
  const plan = [stage('s', 40), stage('t', 25, { executor: 'collecting', dependencies: ['s'] })];

  it('is the same whatever attempts and timings led to the same shards', async () => {
    await start();
    const { merkle_root } = await hxo.run(plan);
    const moody: Work = async (bundle, worker) => {
      if (bundle.work.type === 'collect')
        return bundle.attempt === 1 ? worker.die() : worker.report([collected(bundle)], true);
      await sleep(Math.random() * 3);
      if (bundle.attempt === 1 && bundle.bundle % 3 === 0) return worker.die();
      const outcomes = ordinalsOf(bundle).map((ordinal) =>
        bundle.attempt < 3 && ordinal % 4 === 1 ? failed(ordinal, 'retry') : done(ordinal),
      );
      await worker.report(outcomes.reverse(), true);
    };
    for (let i = 0; i < 3; i++) {
      hxo.transport.work = moody;
      const status = await hxo.run(plan);
      expect(status).toMatchObject({ phase: 'succeeded', merkle_root });
    }
  });

  it('is the same after crashes, which cost no retry', async () => {
    await start();
    const { merkle_root } = await hxo.run(plan);
    const half: Work = async (bundle, worker) => {
      if (bundle.work.type === 'collect') return;
      // Half a bundle is reported, and the process dies before the rest.
      const ordinals = ordinalsOf(bundle);
      await worker.report(
        ordinals.slice(0, Math.ceil(ordinals.length / 2)).map((o) => done(o)),
        false,
      );
    };
    hxo.transport.work = half;
    const plan_id = await hxo.submit(plan);
    for (let crash = 0; crash < 5; crash++) {
      const { done_shards } = hxo.status(plan_id);
      await hxo.until(plan_id, (status) => status.done_shards > done_shards || status.done_shards === 65);
      await hxo.restart(crash < 4 ? half : succeed);
    }
    expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded', merkle_root, done_shards: 65 });
    const { plan_no } = hxo.store.planById(plan_id)!;
    expect(hxo.store.failures(plan_no, 0)).toEqual([]);
  });

  it('differs when one shard came to something else', async () => {
    await start();
    const { merkle_root } = await hxo.run(plan);
    hxo.transport.work = (bundle, worker) =>
      bundle.work.type === 'collect'
        ? succeed(bundle, worker)
        : worker.report(
            ordinalsOf(bundle).map((o) => (o === 7 ? done(o, 'else') : done(o))),
            true,
          );
    expect((await hxo.run(plan)).merkle_root).not.toBe(merkle_root);
  });
});

describe('a store that was damaged before it was sealed', () => {
  const plan = [stage('s', 3, { executor: 'collecting' })];

  it('gets no certificate: a shard whose inputs were altered', async () => {
    await start({
      work: async (bundle, worker) => {
        if (bundle.work.type === 'collect') {
          const other = new Database(join(hxo.dir, 'hxo.db'));
          other.exec(`UPDATE segment SET lines = replace(lines, '"i":1', '"i":7')`);
          other.close();
        }
        await succeed(bundle, worker);
      },
    });
    const status = await hxo.run(plan);
    expect(status).toMatchObject({ phase: 'failed', merkle_root: null, truth_certified: false });
    expect(status.error).toMatchObject({ code: 'CERTIFICATION_FAILED' });
    expect(status.error!.detail).toContain('segment 0-2 of stage s');
    expect(hxo.store.certificate(1, 1)).toBeNull();
  });

  it('gets no certificate: an artifact of a stage whose bytes changed', async () => {
    await start({
      work: async (bundle, worker) => {
        if (bundle.work.type !== 'collect') return succeed(bundle, worker);
        const blob = await hxo.artifacts.put(Buffer.from('the manifest'));
        writeFileSync(
          join(hxo.dir, 'artifacts', blob.digest.slice(0, 2), blob.digest.slice(2)),
          'the manifesT',
        );
        const output = { digest: blob.digest, value: null, artifacts: [{ name: 'manifest', ...blob }] };
        const outcome = { ...done(0, output), digest: blob.digest, artifacts: [blob] };
        await worker.report([outcome], true);
      },
    });
    const status = await hxo.run(plan);
    expect(status).toMatchObject({
      phase: 'failed',
      merkle_root: null,
      error: { code: 'CERTIFICATION_FAILED' },
    });
    expect(status.error!.detail).toMatch(/^Artifact s\/manifest \([0-9a-f]{64}\) is corrupt\.$/);
  });
});

describe('reuse', () => {
  const plan = [stage('s', 300, { executor: 'cacheable' })];

  it('does nothing twice: same root, nothing dispatched, the producing plan named', async () => {
    await start();
    const first = await hxo.run(plan);
    const dispatched = hxo.transport.bundles.length;
    const second = await hxo.run(plan);
    expect(second).toMatchObject({ reused_shards: 300, merkle_root: first.merkle_root, phase: 'succeeded' });
    expect(hxo.transport.bundles).toHaveLength(dispatched);
    const third = hxo.store.planById((await hxo.run(plan)).plan_id)!;
    // The plan that did the work is named, not one that reused it.
    expect(hxo.store.result(third.plan_no, 1, 0, 7)!.source_plan_no).toBe(1);
  });

  it('does what is new, and what was never certified', async () => {
    await start({ work: failFirstOf('s') });
    await hxo.run(plan);
    hxo.transport.work = succeed;
    const second = await hxo.run(plan);
    expect(second).toMatchObject({ phase: 'succeeded', reused_shards: 299 });
    const larger = await hxo.run([stage('s', 301, { executor: 'cacheable' })]);
    expect(larger).toMatchObject({ reused_shards: 300, done_shards: 301 });
    const { plan_no } = hxo.store.planById(larger.plan_id)!;
    expect(hxo.store.stages(plan_no)[0]!.misses).toEqual({ options_changed: 1 });
  });

  it('tells the content, the options and the executor apart as reasons of a miss', async () => {
    await start();
    const missesOf = async (executor: string, waves: number[]): Promise<Json> => {
      const { plan_id } = await hxo.run([{ id: 's', executor, config: { waves } }]);
      return hxo.store.stages(hxo.store.planById(plan_id)!.plan_no)[0]!.misses;
    };
    expect(await missesOf('cacheable', [2])).toEqual({ first_run: 2 });
    expect(await missesOf('cacheable', [3])).toEqual({ options_changed: 1 });
    const partition = by_waves.partition.bind(by_waves);
    by_waves.partition = async function* (waves) {
      for (const shard of waves) yield { wave: 0, weight: 1, inputs: { other: shard }, input_digests: [] };
      return { matched: 1, taken: 1, truncated: 0 };
    };
    expect(await missesOf('cacheable', [3])).toEqual({ content_changed: 1 });
    by_waves.partition = partition;
    const executors = catalogue.executors as Map<string, Executor>;
    const cacheable = executors.get('cacheable')!;
    executors.set('cacheable', { ...cacheable, version: '2' });
    expect(await missesOf('cacheable', [3])).toEqual({ executor_changed: 3 });
    executors.set('cacheable', cacheable);
  });
});
