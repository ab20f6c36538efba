import { sha256 } from '#truth';
import type { CheckpointStore, PlanRow, ResultRow, Segment } from './checkpoint/checkpoint-store.js';
import type { LivePlan } from './plan/live-plan.js';
import { StageBoard } from './schedule/stage-board.js';
import { shardPage } from './shard-views.js';

/** One stage of done shards in segments of 100, with values of so many characters. Counts what is read. */
class FakeStore {
  readonly asked_from: (number | undefined)[] = [];
  segments_read = 0;
  blocks_read = 0;
  plans_read = 0;

  constructor(
    private readonly total: number,
    private readonly value_chars = 10,
  ) {}

  *segments(_plan_no: number, _stage_no: number, from = 0): IterableIterator<Segment> {
    this.asked_from.push(from);
    for (let first_ordinal = from - (from % 100); first_ordinal < this.total; first_ordinal += 100) {
      this.segments_read++;
      yield {
        ...{ first_ordinal, count: 100, wave: 0, cas: new Uint8Array(3_200), misses: '-'.repeat(100) },
        digest: sha256('not looked at'),
        lines: Array.from({ length: 100 }, (_, i) => `${first_ordinal + i}\t\t{}\n`).join(''),
      };
    }
  }
  *results(
    _plan_no: number,
    _revision: number,
    _stage_no: number,
    from: number,
    below: number,
  ): IterableIterator<ResultRow> {
    this.blocks_read++;
    for (let ordinal = from; ordinal < Math.min(below, this.total); ordinal++) {
      yield {
        ...{ ordinal, attempt: 1, status: 'done', declared_output: null, artifacts: [], source_plan_no: 7 },
        ...{ value: `"${'x'.repeat(this.value_chars)}"`, worker: 'w', duration_ms: 1, finished_at: 0 },
      };
    }
  }
  failuresOf(): [] {
    return [];
  }
  planByNo(): Pick<PlanRow, 'plan_id'> {
    this.plans_read++;
    return { plan_id: 'earlier' as PlanRow['plan_id'] };
  }
}

const plan = { plan_no: 1, revision: 1, spec: { stages: [{ id: 's' }] } } as unknown as PlanRow;
const page = (
  store: FakeStore,
  ordinal: number,
  limit: number,
  phase: string | null = null,
  live?: LivePlan,
) =>
  shardPage(plan, live, store as unknown as CheckpointStore, {
    ...{ from: { stage_no: 0, ordinal }, limit, stage_no: null, phase },
  });

/** All pages, by their cursors. */
function walk(
  store: FakeStore,
  limit: number,
  phase: string | null = null,
): { ordinals: number[]; pages: number } {
  const ordinals: number[] = [];
  let pages = 0;
  for (let at: number | null = 0; at !== null; pages++) {
    const { items, next_cursor } = page(store, at, limit, phase);
    ordinals.push(...items.map((item) => item.ordinal));
    at = next_cursor === null ? null : Number(next_cursor.split('.')[1]);
  }
  return { ordinals, pages };
}

const all = (total: number): number[] => Array.from({ length: total }, (_, i) => i);

describe('shardPage', () => {
  it('counts lost leases while the plan is followed, and claims no number afterwards', () => {
    const board = new StageBoard();
    board.add(2, 0);
    board.restore(1, { attempt: 3, losses: 2 });
    const live = { stages: [{ board }] } as unknown as LivePlan;
    const losses = (of?: LivePlan): unknown[] =>
      page(new FakeStore(2), 0, 2, null, of).items.map(({ lease_losses }) => lease_losses);
    expect([losses(live), losses()]).toEqual([
      [0, 2],
      [null, null],
    ]);
  });

  it('shows every shard once, each with its own line', () => {
    expect(walk(new FakeStore(500), 70).ordinals).toEqual(all(500));
    expect(page(new FakeStore(500), 299, 2).items).toMatchObject([
      { ordinal: 299, weight: 299, producing_plan_id: 'earlier' },
      { ordinal: 300, weight: 300, reused: true },
    ]);
  });

  it('reads no segment before its cursor and none after its last shard', () => {
    const store = new FakeStore(100_000);
    expect(page(store, 90_050, 100).next_cursor).toBe('0.90150');
    expect([store.asked_from, store.segments_read]).toEqual([[90_050], 2]);
    expect([store.blocks_read, store.plans_read]).toEqual([2, 1]);
  });

  it('looks at a bounded number of shards for a phase that none is in', () => {
    const store = new FakeStore(25_000);
    expect(page(store, 0, 10, 'failed')).toEqual({ items: [], next_cursor: '0.10000' });
    expect(walk(store, 10, 'failed')).toEqual({ ordinals: [], pages: 3 });
  });

  it('reads a bounded amount of values for a page', () => {
    const store = new FakeStore(300, 64 * 1024);
    const { items, next_cursor } = page(store, 0, 1_000);
    expect(items.length).toBeLessThan(70);
    expect(next_cursor).toBe(`0.${items.length}`);
    expect(walk(store, 1_000).ordinals).toEqual(all(300));
  });
});
