import fc from 'fast-check';
import { FairRoundRobin, type Candidate } from './fair-round-robin.js';

/** A stage with so many bundles to lease. */
class FakeStage implements Candidate {
  constructor(
    readonly plan_id: string,
    public left: number,
  ) {}
  hasWork(): boolean {
    return this.left > 0;
  }
}

const stageLists = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c', 'd'), fc.nat(6)), { maxLength: 12 });

/** Adds the stages and takes turns until nobody has work. */
function drain(list: readonly (readonly [string, number])[]): { stages: FakeStage[]; turns: FakeStage[] } {
  const scheduler = new FairRoundRobin<FakeStage>();
  const stages = list.map(([plan_id, left]) => new FakeStage(plan_id, left));
  for (const stage of stages) scheduler.add(stage);
  const turns: FakeStage[] = [];
  for (let stage = scheduler.next(); stage !== null; stage = scheduler.next()) {
    stage.left--;
    turns.push(stage);
  }
  return { stages, turns };
}

describe('FairRoundRobin', () => {
  it('gives every bundle its turn, and none to a stage without work', () => {
    fc.assert(
      fc.property(stageLists, (list) => {
        const { stages, turns } = drain(list);
        expect(stages.every((stage) => stage.left === 0)).toBe(true);
        expect(turns).toHaveLength(list.reduce((sum, [, left]) => sum + left, 0));
      }),
    );
  });

  it.each<['plan' | 'stage']>([['plan'], ['stage']])(
    'between two turns of a %s every other one with work has a turn',
    (level) => {
      fc.assert(
        fc.property(stageLists, (list) => {
          const { turns } = drain(list);
          assertFair(turns, level);
        }),
      );
    },
  );

  it('delays a small plan by one bundle of a large one', () => {
    const { turns } = drain([
      ['large', 100],
      ['small', 2],
    ]);
    expect(turns.slice(0, 5).map((stage) => stage.plan_id)).toEqual([
      'large',
      'small',
      'large',
      'small',
      'large',
    ]);
  });

  it('forgets what is removed', () => {
    const scheduler = new FairRoundRobin<FakeStage>();
    const [one, two] = [new FakeStage('a', 1), new FakeStage('b', 1)];
    scheduler.add(one);
    scheduler.add(two);
    scheduler.remove(one);
    expect(scheduler.next()).toBe(two);
    scheduler.remove(two);
    expect(scheduler.next()).toBeNull();
  });
});

/** Work only shrinks while draining, so whoever has a turn later has had work all the time before it. */
function assertFair(turns: readonly FakeStage[], level: 'plan' | 'stage'): void {
  const nameOf = (stage: FakeStage): unknown => (level === 'plan' ? stage.plan_id : stage);
  turns.forEach((stage, i) => {
    const again = turns.findIndex((other, j) => j > i && nameOf(other) === nameOf(stage));
    if (again === -1) return;
    const between = new Set(turns.slice(i + 1, again).map(nameOf));
    // Stages take turns with those of their own plan.
    const rivals = turns
      .slice(again + 1)
      .filter((other) => level === 'plan' || other.plan_id === stage.plan_id);
    for (const rival of rivals) {
      if (nameOf(rival) !== nameOf(stage)) expect(between).toContain(nameOf(rival));
    }
  });
}
