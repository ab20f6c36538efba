import { jest } from '@jest/globals';
import {
  parseOutcomes,
  printOutcomes,
  type Bundle,
  type Outcome,
  type OutcomeBatch,
  type TransportSink,
} from '#hxo/execute';
import type { MemberListener } from './member.js';
import type { FromMember } from './protocol.js';
import { Seat } from './seat.js';

const bundle = (work: Bundle['work'], number = 1): Bundle => ({
  ...{ plan_id: 'p', bundle: number, attempt: 1, stage: 's', executor: 'e', executor_version: '1' },
  ...{ reads_files: true, isolation: 'thread', concurrency: 1, shard_timeout_ms: 500, work },
});
const shard: Bundle['work'] = { type: 'shards', ordinals: [0], lines: '1\t\t{}\n' };
const halt: Outcome = {
  ...{ ordinal: 0, status: 'failed', verdict: 'halt', code: 'ENOSPC', message: 'full', duration_ms: 1 },
};

let listener: MemberListener;
let lanes: Int32Array;
let batches: OutcomeBatch[];
let seat: Seat;

beforeEach(() => {
  jest.useFakeTimers();
  batches = [];
  const sink: TransportSink = {
    started: () => {},
    heartbeat: () => {},
    outcomes: async (batch) => void batches.push(batch),
    refused: () => {},
    lost: () => {},
    changed: () => {},
  };
  seat = new Seat('thread-1', {
    ...{ sink, idle_ms: 10_000, takeBack: () => {}, changed: () => {}, log: () => {} },
    startMember: (told) => {
      listener = told;
      lanes = new Int32Array(256);
      return { lanes, send: () => {}, kill: () => listener.exited('killed') };
    },
  });
});
afterEach(() => jest.useRealTimers());

/** What a member says of outcomes. */
function reportOf(outcomes: readonly Outcome[], final: boolean): FromMember {
  const ordinals = outcomes.map(({ ordinal }) => ordinal);
  return {
    type: 'outcomes',
    outcomes: printOutcomes(outcomes),
    ordinals,
    halted: outcomes.includes(halt),
    final,
  };
}

/** The next bundle, which halts the member; answers how long the seat rests afterwards, in milliseconds. */
async function restAfterHalt(number: number, batches_of: readonly (readonly Outcome[])[]): Promise<number> {
  seat.take(bundle(shard, number));
  listener.message({ type: 'ready' });
  listener.message({ type: 'begun' });
  batches_of.forEach((outcomes, i) => listener.message(reportOf(outcomes, i === batches_of.length - 1)));
  await jest.advanceTimersByTimeAsync(0);
  let rest_ms = 0;
  for (; !seat.open; rest_ms += 50) await jest.advanceTimersByTimeAsync(50);
  return rest_ms;
}

it('rests ever longer when one bundle after the other halts its member, and starts over once one goes through', async () => {
  const rests: number[] = [];
  for (let number = 1; number <= 9; number++) rests.push(await restAfterHalt(number, [[halt]]));
  expect(rests).toEqual([0, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
  seat.take(bundle(shard, 10));
  listener.message(reportOf([], true));
  await jest.advanceTimersByTimeAsync(0);
  expect(await restAfterHalt(11, [[halt]])).toBe(0);
});

it('rests as well when the halt was not in the last batch of its bundle', async () => {
  expect(await restAfterHalt(1, [[halt]])).toBe(0);
  seat.take(bundle(shard, 2));
  listener.message(reportOf([halt], false));
  await jest.advanceTimersByTimeAsync(0);
  expect(seat.open).toBe(false);
  await jest.advanceTimersByTimeAsync(100);
  expect(seat.open).toBe(true);
});

it.each<[string, Bundle['work'], string, RegExp]>([
  ['shard', shard, 'SHARD_TIMEOUT', /^The shard ran past its limit of 500 ms and .*Make shards smaller/],
  [
    'collector',
    { type: 'collect', results: 'a'.repeat(64) as never },
    'COLLECT_TIMEOUT',
    /^The collector ran past its limit of 500 ms and .*shard_timeout_ms above 500/,
  ],
])('names the %s that it has ended at its limit', async (_, work, code, message) => {
  seat.take(bundle(work));
  listener.message({ type: 'ready' });
  listener.message({ type: 'begun' });
  lanes[0] = 1;
  seat.watch(0);
  seat.watch(800);
  await jest.advanceTimersByTimeAsync(0);
  expect(parseOutcomes(batches[0]!.outcomes)).toEqual([
    expect.objectContaining({ code, message: expect.stringMatching(message) as string }),
  ]);
});
