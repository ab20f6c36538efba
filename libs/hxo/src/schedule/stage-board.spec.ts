import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { ShardPhase } from '../views.js';
import { StageBoard, type Claim } from './stage-board.js';

/** One shard as a naive reader of the rules would keep it. */
interface ModelShard {
  readonly wave: number;
  phase: ShardPhase;
  attempt: number;
  failures: number;
  losses: number;
}

const settled: readonly ShardPhase[] = ['done', 'failed', 'skipped'];

/** The rules of a stage, written for clarity: everything is looked up anew each time. */
class Model {
  readonly shards: ModelShard[] = [];
  halted = false;

  constructor(waves: readonly number[]) {
    waves.forEach((count, wave) => {
      for (let i = 0; i < count; i++)
        this.shards.push({ wave, phase: 'pending', attempt: 0, failures: 0, losses: 0 });
    });
    this.last_wave = waves.length - 1;
  }
  private readonly last_wave: number;

  /** A wave starts when every earlier one is done to its last shard. */
  started(wave: number): boolean {
    return this.shards.every((shard) => shard.wave >= wave || shard.phase === 'done');
  }

  claimable(shard: ModelShard): boolean {
    return shard.phase === 'pending' && this.started(shard.wave);
  }

  hasWork(): boolean {
    return this.shards.some((shard) => this.claimable(shard));
  }

  blocked(): boolean {
    if (this.halted) return false;
    for (let wave = 0; wave < this.last_wave; wave++) {
      const shards = this.shards.filter((shard) => shard.wave === wave);
      if (!shards.every((shard) => settled.includes(shard.phase))) return false;
      if (shards.some((shard) => shard.phase === 'failed')) return true;
    }
    return false;
  }

  giveBack(shard: ModelShard): void {
    shard.phase = this.halted ? 'skipped' : 'pending';
  }

  ordinals(...phases: ShardPhase[]): number[] {
    return this.shards.flatMap((shard, ordinal) => (phases.includes(shard.phase) ? [ordinal] : []));
  }
}

type Operation =
  'claim' | 'reuse' | 'begin' | 'done' | 'failed' | 'retryLater' | 'retry' | 'release' | 'lose' | 'halt';

const life: readonly Operation[] = [
  'claim',
  'begin',
  'done',
  'failed',
  'retryLater',
  'retry',
  'release',
  'lose',
];
/** Operations, each with a number that picks its shard or says how many to claim. Every list has its own favourites. */
const steps = (...more: Operation[]): fc.Arbitrary<[Operation, number][]> =>
  fc.array(fc.constantFrom(...life), { maxLength: 30 }).chain((favourites) =>
    fc.array(fc.tuple(fc.constantFrom(...life, ...more, ...favourites), fc.nat(1_000)), {
      minLength: 30,
      maxLength: 120,
      size: 'max',
    }),
  );
const waveLists = fc.array(fc.nat(4), { minLength: 1, maxLength: 4 });

function boardOf(waves: readonly number[]): StageBoard {
  const board = new StageBoard();
  waves.forEach((count, wave) => board.add(count, wave));
  return board;
}

/** Does the same to both, where the rules allow it, and checks what a claim may be. */
function step(board: StageBoard, model: Model, operation: Operation, number: number): void {
  const pick = (...phases: ShardPhase[]): number | undefined => {
    const candidates = model.ordinals(...phases);
    return candidates[number % Math.max(1, candidates.length)];
  };
  switch (operation) {
    case 'claim':
      return claim(board, model, 1 + (number % 6));
    case 'halt':
      board.halt();
      model.halted = true;
      for (const ordinal of model.ordinals('pending', 'retrying')) model.shards[ordinal]!.phase = 'skipped';
      return;
    case 'reuse': {
      const ordinal = pick('pending');
      if (ordinal === undefined || model.shards[ordinal]!.attempt > 0) return;
      board.done(ordinal);
      model.shards[ordinal]!.phase = 'done';
      return;
    }
    case 'retry': {
      const ordinal = pick('retrying');
      if (ordinal === undefined) return;
      board.retry(ordinal);
      model.giveBack(model.shards[ordinal]!);
      return;
    }
    default: {
      const ordinal = pick('claimed', 'running');
      if (ordinal !== undefined) end(board, model.shards[ordinal]!, ordinal, operation, model);
    }
  }
}

function end(
  board: StageBoard,
  shard: ModelShard,
  ordinal: number,
  operation: Exclude<Operation, 'claim' | 'halt' | 'reuse' | 'retry'>,
  model: Model,
): void {
  if (operation === 'begin') {
    board.begin([ordinal], shard.attempt);
    shard.phase = 'running';
    return;
  }
  board[operation](ordinal);
  if (operation === 'done' || operation === 'failed') shard.phase = operation;
  else if (operation === 'retryLater') {
    shard.failures++;
    shard.phase = model.halted ? 'skipped' : 'retrying';
  } else {
    if (operation === 'lose') shard.losses++;
    model.giveBack(shard);
  }
}

function claim(board: StageBoard, model: Model, count: number): void {
  const claimed = board.claim(count);
  assert.equal(claimed !== null, model.hasWork());
  if (claimed === null) return;
  const { ordinals, attempt } = claimed;
  assert.ok(ordinals.length > 0 && ordinals.length <= count);
  assert.deepEqual(
    ordinals,
    [...new Set(ordinals)].sort((a, b) => a - b),
  );
  const shards = ordinals.map((ordinal) => model.shards[ordinal]!);
  for (const shard of shards) {
    // Never leased twice at once, never before its wave, always above every earlier lease.
    assert.ok(model.claimable(shard));
    assert.equal(attempt, shard.attempt + 1);
    if (shard.losses >= 2) assert.equal(ordinals.length, 1);
  }
  for (const shard of shards) Object.assign(shard, { phase: 'claimed', attempt });
}

/** Thousands of comparisons a property: node's assert is many times faster than expect. */
function expectSame(board: StageBoard, model: Model): void {
  const counts = board.counts();
  const sum = Object.values(counts).reduce((all, count) => all + count, 0);
  assert.equal(sum, board.total);
  for (const [phase, count] of Object.entries(counts))
    assert.equal(count, model.ordinals(phase as ShardPhase).length, phase);
  assert.deepEqual(
    shardsOf(board),
    model.shards.map(({ wave: _, ...shard }) => shard),
  );
  assert.equal(board.waiting(), counts.pending);
  assert.equal(
    board.settled(),
    model.shards.every((shard) => settled.includes(shard.phase)),
  );
  assert.equal(board.blockedByWave(), model.blocked());
  assert.equal(board.hasWork(), model.hasWork());
}

function shardsOf(board: StageBoard): Omit<ModelShard, 'wave'>[] {
  return Array.from({ length: board.total }, (_, ordinal) => ({
    phase: board.phaseOf(ordinal),
    attempt: board.attemptOf(ordinal),
    failures: board.failuresOf(ordinal),
    losses: board.lossesOf(ordinal),
  }));
}

describe('StageBoard', () => {
  it('does what the rules say, whatever happens in whatever order', () => {
    const run = fc.property(waveLists, steps('claim', 'reuse', 'halt'), (waves, list) => {
      const [board, model] = [boardOf(waves), new Model(waves)];
      expectSame(board, model);
      for (const [operation, number] of list) {
        step(board, model, operation, number);
        expectSame(board, model);
      }
    });
    fc.assert(run, { numRuns: 300 });
  });

  it('comes back after a restart as a board whose workers were all lost', () => {
    const run = fc.property(waveLists, steps('claim', 'claim', 'reuse'), (waves, list) => {
      const [live, model] = [boardOf(waves), new Model(waves)];
      for (const [operation, number] of list) step(live, model, operation, number);
      for (const ordinal of model.ordinals('claimed', 'running')) live.lose(ordinal);
      for (const ordinal of model.ordinals('retrying')) live.retry(ordinal);

      const restored = restoredFrom(live, waves);
      expect(shardsOf(restored)).toEqual(shardsOf(live));
      expect(restored.counts()).toEqual(live.counts());
      expect(restored.settled()).toBe(live.settled());
      expect(restored.blockedByWave()).toBe(live.blockedByWave());
      expect(drained(restored)).toEqual(drained(live));
    });
    fc.assert(run, { numRuns: 300 });
  });

  it('gives shards that lost two leases alone, wherever they wait', () => {
    const board = boardOf([3]);
    // The same attempt: shard 1 after three failures of its executor, shards 0 and 2 after three lost workers.
    for (let attempt = 1; attempt <= 3; attempt++) {
      for (let claimed = board.claim(3); claimed !== null; claimed = board.claim(3)) {
        for (const ordinal of claimed.ordinals) if (ordinal === 1) board.retryLater(1);
      }
      board.retry(1);
      board.lose(0);
      board.lose(2);
    }
    expect(board.claim(3)).toEqual({ ordinals: [1], attempt: 4 });
    expect(board.claim(3)).toEqual({ ordinals: [0], attempt: 4 });
    expect(board.claim(3)).toEqual({ ordinals: [2], attempt: 4 });
    expect(board.claim(3)).toBeNull();
  });

  it('leaves shards alone that have moved on when a late start is heard of', () => {
    const board = boardOf([2]);
    board.claim(2);
    board.done(0);
    board.lose(1);
    board.begin([0, 1], 1);
    expect([board.phaseOf(0), board.phaseOf(1)]).toEqual(['done', 'pending']);
    board.claim(1);
    board.begin([1], 1);
    expect(board.phaseOf(1)).toBe('claimed');
  });

  it('takes up leases that are alive after a restart, and those alone', () => {
    const board = boardOf([4]);
    for (const ordinal of [0, 1, 2]) board.restore(ordinal, { attempt: 2, losses: 1 });
    board.restore(2, { attempt: 3 });
    board.restoreResult(0, 'done');
    board.restored();
    const taken = [0, 1, 2, 3].map((ordinal) => board.reclaim(ordinal, 2));
    // Decided, alive, leased again since, never leased.
    expect(taken).toEqual([false, true, false, false]);
    expect(board.counts()).toMatchObject({ done: 1, claimed: 1, pending: 2 });
    expect([board.attemptOf(1), board.lossesOf(1)]).toEqual([2, 1]);
    expect(board.reclaim(1, 2)).toBe(false);
    expect([board.claim(9), board.claim(9), board.claim(9)]).toEqual([
      { ordinals: [2], attempt: 4 },
      { ordinals: [3], attempt: 1 },
      null,
    ]);
    board.begin([1], 2);
    board.done(1);
    expect(board.phaseOf(1)).toBe('done');
  });

  it('lets a shard wait for its back-off at the charge that is due', () => {
    const board = boardOf([1]);
    for (const charge of ['failure', 'loss', null] as const) {
      board.claim(1);
      board.retryLater(0, charge);
      expect(board.claim(1)).toBeNull();
      board.retry(0);
    }
    expect([board.failuresOf(0), board.lossesOf(0), board.attemptOf(0)]).toEqual([1, 1, 3]);
  });

  it('grows as segments come', () => {
    const board = new StageBoard();
    for (let i = 0; i < 20; i++) board.add(256, 0);
    expect(board.total).toBe(5_120);
    expect(board.claim(10_000)?.ordinals).toHaveLength(5_120);
    board.add(1, 1);
    expect(board.hasWork()).toBe(false);
  });

  describe('refuses what the rules forbid, and stays as it is', () => {
    type Verb = 'done' | 'failed' | 'retryLater' | 'release' | 'lose';
    const reach: Record<'pending' | 'retrying' | 'done' | 'failed' | 'skipped', (board: StageBoard) => void> =
      {
        pending: () => {},
        retrying: (board) => (board.claim(1), board.retryLater(0)),
        done: (board) => (board.claim(1), board.done(0)),
        failed: (board) => (board.claim(1), board.failed(0)),
        skipped: (board) => board.halt(),
      };
    const forbidden: [keyof typeof reach, Verb[]][] = [
      ['pending', ['failed', 'retryLater', 'release', 'lose']],
      ['retrying', ['done', 'failed', 'retryLater']],
      ['done', ['done', 'failed', 'retryLater', 'release', 'lose']],
      ['failed', ['done', 'failed', 'retryLater', 'release', 'lose']],
      ['skipped', ['done', 'failed', 'retryLater', 'release', 'lose']],
    ];
    const cases = forbidden.flatMap(([phase, verbs]) => verbs.map((verb) => [phase, verb] as const));

    it.each(cases)('%s: %s', (phase, verb) => {
      const board = boardOf([1]);
      reach[phase](board);
      const before = shardsOf(board);
      expect(() => board[verb](0)).toThrow('Illegal shard transition');
      expect(shardsOf(board)).toEqual(before);
      expect(board.counts()[phase]).toBe(1);
    });
  });
});

/** A new board from what the store keeps: attempts, errors and losses of leased shards, and the results. */
function restoredFrom(live: StageBoard, waves: readonly number[]): StageBoard {
  const board = boardOf(waves);
  shardsOf(live).forEach(({ attempt, failures, losses }, ordinal) => {
    if (attempt > 0) board.restore(ordinal, { attempt, losses });
    if (failures > 0) board.restore(ordinal, { failures });
  });
  shardsOf(live).forEach(({ phase }, ordinal) => {
    if (phase === 'done' || phase === 'failed') board.restoreResult(ordinal, phase);
  });
  board.restored();
  return board;
}

/** Every lease that the board still gives when all of them succeed. */
function drained(board: StageBoard): string[] {
  const leases: string[] = [];
  for (let claimed: Claim | null = board.claim(4); claimed !== null; claimed = board.claim(4)) {
    for (const ordinal of claimed.ordinals) {
      leases.push(`${ordinal}@${claimed.attempt}`);
      board.done(ordinal);
    }
  }
  return leases.sort();
}
