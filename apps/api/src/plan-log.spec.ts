import { EventEmitter2 } from '@nestjs/event-emitter';
import { setImmediate as turn } from 'node:timers/promises';
import { GenesisBus, type GenesisEvent } from '#genesis';
import type { Hxo } from '#hxo';
import { type Page, type PlanListItem, type StatusView } from '#hxo';
import { PlanLog } from './plan-log.js';

const plan_id = 'p-1';
const counts = { total_shards: 30, done_shards: 3, reused_shards: 2, failed_shards: 25, skipped_shards: 2 };
const stage = {
  id: 'pack',
  phase: 'running',
  started_at: '2025-10-11T20:00:00Z',
  finished_at: null,
  ...counts,
};
const running = {
  ...{ plan_id, phase: 'running', started_at: '2025-10-11T20:00:00Z', finished_at: null, waiting_for: null },
  ...{ ...counts, stages: [stage] },
};
const failed = {
  ...{ ...running, phase: 'failed', finished_at: '2025-10-11T20:00:09Z' },
  stages: [{ ...stage, phase: 'failed', finished_at: '2025-10-11T20:00:07Z' }],
};

/** Answers with one status. */
class OnePlan {
  status_view: object = running;
  listed: readonly string[] = [];
  async status(_: string): Promise<StatusView> {
    return this.status_view as StatusView;
  }
  /** A page holds one plan. */
  async plans({ phase, cursor = '0' }: { phase?: string; cursor?: string }): Promise<Page<PlanListItem>> {
    const at = Number(cursor);
    const listed = phase === 'running' ? this.listed : [];
    const items = listed.slice(at, at + 1).map((id) => ({ plan_id: id }) as PlanListItem);
    return { items, next_cursor: at + 1 < listed.length ? String(at + 1) : null };
  }
}

let hxo: OnePlan;
let log: PlanLog;
let bus: GenesisBus;
let lines: string[];

beforeEach(async () => {
  hxo = new OnePlan();
  lines = [];
  bus = new GenesisBus(new EventEmitter2(), true);
  const line = (level: string) => (message: string, fields?: object) =>
    void lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
  log = new PlanLog(hxo as unknown as Hxo, { info: line('info'), warn: line('warn') });
});
afterEach(() => log.close());

async function publish(topic: string, data: object, about: string | null = plan_id): Promise<void> {
  const time = '2025-10-11T20:00:00Z';
  bus.publish({ id: '1', topic, time, plan_id: about, data } as unknown as GenesisEvent);
  await turn();
}

const phase = (name: string, error: object | null = null): Promise<void> =>
  publish('hxo.plan', { name: 'deploy', phase: name, revision: 1, error });

it('tells of a plan from its submission to its end, stages and certificate included', async () => {
  await log.listen(bus);
  await publish('hxo.audit', { seq: 1, actor: 'admiral', action: 'plan.submit', outcome: 'ok', data: {} });
  await phase('submitted');
  await phase('partitioning');
  await phase('running');
  hxo.status_view = failed;
  await publish('hxo.audit', { seq: 2, actor: 'hxo', action: 'plan.certify', outcome: 'ok', data: {} });
  await publish('hxo.aggregate.ready', { leaves: 30 });
  await publish('hxo.aggregate.finalized', { merkle_root: 'ab', truth_certified: true });
  await phase('failed', { code: 'SHARDS_FAILED', detail: 'Some failed.' });
  const shards = 'shards: 30, done 3 (reused 2), failed 25, skipped 2';
  const fields = '{"plan_id":"p-1"}';
  expect(lines).toEqual([
    `info Plan p-1: plan.submit by admiral. ${fields}`,
    `info Plan p-1: submitted (deploy). ${fields}`,
    `info Plan p-1: is cut into shards. ${fields}`,
    `info Plan p-1: runs; ${shards}. ${fields}`,
    `warn Plan p-1: stage pack failed in 7 s; ${shards}. {"plan_id":"p-1","stage":"pack"}`,
    `info Plan p-1: certificate issued, root ab. ${fields}`,
    `warn Plan p-1: failed in 9 s; ${shards}. SHARDS_FAILED: Some failed. ${fields}`,
  ]);
});

it('tells 20 failures of a stage, and 20 that are tried again, each bounded', async () => {
  await log.listen(bus);
  const shards = (final: boolean) =>
    Array.from({ length: 15 }, (_, ordinal) => ({
      ...{ ordinal, attempt: 1, code: 'SHARD_TIMEOUT', message: 'm'.repeat(10_000), final },
    }));
  for (const final of [false, true, false, true]) {
    await publish('hxo.shard.failed', { stage: 'pack', shards: shards(final) });
  }
  await publish('hxo.shard.failed', { stage: 'other', shards: shards(true).slice(0, 1) });
  expect(lines).toHaveLength(41);
  expect(lines[0]).toMatch(
    /^info Plan p-1: stage pack: shard 0 failed and is tried again, attempt 1\. SHARD_TIMEOUT: m+… /,
  );
  expect(lines[40]).toMatch(/^warn Plan p-1: stage other: shard 0 failed for good, attempt 1\./);
  expect(lines.filter((line) => line.includes('only counted'))).toHaveLength(2);
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(700);
});

it('tells of alerts and refusals, and not of every shard', async () => {
  await log.listen(bus);
  await publish('hxo.alert', { code: 'SLO_MISSED', stage: 'pack', detail: 'Too slow.' });
  const data = { route: '/api/hxo/audit' };
  const denial = { seq: 1, actor: 'anonymous', action: 'access.denied', outcome: 'denied', data };
  await publish('hxo.audit', denial, null);
  await publish('hxo.shard.done', { stage: 'pack', shards: [{ ordinal: 0, attempt: 1, reused: false }] });
  expect(lines).toEqual([
    'warn Plan p-1: SLO_MISSED: Too slow. {"plan_id":"p-1"}',
    'warn access.denied (anonymous, denied): {"route":"/api/hxo/audit"} {}',
  ]);
});

it('tells what a resumed plan waits for, once for as long as it is the same thing', async () => {
  hxo.listed = [plan_id];
  await log.listen(bus);
  for (const waiting_for of [
    'the back-off of 3 shards',
    'the back-off of 2 shards',
    'a worker',
    null,
    null,
  ]) {
    hxo.status_view = { ...running, waiting_for };
    await log.look();
  }
  hxo.status_view = failed;
  await log.look();
  await log.look();
  expect(lines.map((line) => line.split(' {', 1)[0])).toEqual([
    'warn Plan p-1: waits for the back-off of 3 shards',
    'warn Plan p-1: waits for a worker',
    'info Plan p-1: waits no longer.',
    expect.stringContaining('warn Plan p-1: stage pack failed in 7 s'),
  ]);
});

it('looks at every plan that is resumed, however many pages they are, and at one after the other', async () => {
  hxo.listed = ['p-1', 'p-2', 'p-3'];
  await log.listen(bus);
  const asked: string[] = [];
  let answer = (): void => {};
  hxo.status = async (id: string) => {
    asked.push(id);
    if (id === 'p-1') await new Promise<void>((resolve) => (answer = resolve));
    return { ...running, plan_id: id } as unknown as StatusView;
  };
  const looks = [log.look(), log.look()];
  await turn();
  expect(asked).toEqual(['p-1']);
  answer();
  await Promise.all(looks);
  expect(asked).toEqual(['p-1', 'p-2', 'p-3']);
  void log.look();
  await turn();
  expect(asked).toHaveLength(4);
  answer();
});
