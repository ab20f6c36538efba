import Database from 'better-sqlite3';
import { join } from 'node:path';
import { done, ordinalsOf, succeed, type Work } from '../../../../test/engine/fake-transport.js';
import { RunningEngine } from '../../../../test/engine/running-engine.js';

let hxo: RunningEngine;
/** One shard or collector at a time: a lease that is left behind would keep everything else from being leased. */
const start = async (work: Work): Promise<RunningEngine> =>
  (hxo = await RunningEngine.start({ slots: 1, max_concurrency: 1, work }));
afterEach(() => hxo.close());

const three = { id: 's', executor: 'collecting', config: { waves: [3] } };

/** Has the store refuse a statement from now on, with an error that its writer does not wait out. */
function forbid(...statements: readonly string[]): void {
  const db = new Database(join(hxo.dir, 'hxo.db'));
  for (const [i, statement] of statements.entries())
    db.exec(`CREATE TRIGGER forbid_${i} BEFORE ${statement} BEGIN SELECT RAISE(ABORT, 'forbidden'); END`);
  db.close();
}

function allow(): void {
  const db = new Database(join(hxo.dir, 'hxo.db'));
  const triggers = db.prepare(`SELECT name FROM sqlite_master WHERE type = 'trigger'`).pluck().all();
  for (const name of triggers as string[]) db.exec(`DROP TRIGGER ${name}`);
  db.close();
}

const dies: Work = async (_bundle, worker) => worker.die();
const refuses: Work = async (_bundle, worker) => worker.refuse();
const only =
  (type: 'shards' | 'collect', work: Work): Work =>
  (bundle, worker) =>
    (bundle.work.type === type ? work : succeed)(bundle, worker);

describe('an error of the store that nothing waits out', () => {
  it.each<[string, string, Work]>([
    ['a lease of shards is stored', 'INSERT ON bundle', succeed],
    ['a lease of a collector is stored', "INSERT ON bundle WHEN NEW.ordinals = ''", succeed],
    ['shards come back that were refused', 'UPDATE ON bundle', only('shards', refuses)],
    [
      'a collector comes back that was refused',
      "UPDATE ON bundle WHEN NEW.ordinals = ''",
      only('collect', refuses),
    ],
    ['shards are lost', 'UPDATE ON bundle', only('shards', dies)],
    ['a collector is lost', "UPDATE ON bundle WHEN NEW.ordinals = ''", only('collect', dies)],
  ])('ends the plan when %s, and leaves no lease behind', async (_, statement, work) => {
    await start(work);
    forbid(statement);
    const { phase, error } = await hxo.run([three]);
    expect([phase, error!.code]).toEqual(['failed', 'INTERNAL_ERROR']);
    expect(error!.detail).toMatch(/its log has the particulars/);
    expect(hxo.log.splice(0).join()).toMatch(/met an unexpected error.*forbidden/);
    allow();
    hxo.transport.work = succeed;
    expect(await hxo.run([three])).toMatchObject({ phase: 'succeeded' });
  });

  it('ends the plan when a bundle comes back that the transport did not take', async () => {
    await start(succeed);
    forbid('UPDATE ON bundle');
    hxo.transport.refusal = new Error('No connection.');
    expect(await hxo.run([three])).toMatchObject({ phase: 'failed', error: { code: 'INTERNAL_ERROR' } });
    expect(hxo.log.splice(0).join()).toMatch(/No connection.*met an unexpected error/s);
  });

  it('is told as damage when it is that', async () => {
    await start(succeed);
    const write = hxo.store.write.bind(hxo.store);
    const malformed = Object.assign(new Error('database disk image is malformed'), {
      code: 'SQLITE_CORRUPT',
    });
    hxo.store.write = (work, patience) =>
      patience === 'shards' ? Promise.reject(malformed) : write(work, patience);
    const { phase, error } = await hxo.run([three]);
    expect([phase, error!.code]).toEqual(['failed', 'STORE_DAMAGED']);
    expect(error!.detail).toMatch(/SQLITE_CORRUPT.*restore it from a backup/);
    expect(hxo.log.splice(0)).toHaveLength(1);
  });

  it('makes a plan that cannot even be ended wait for a restart, and say so', async () => {
    await start(succeed);
    forbid('INSERT ON bundle', "UPDATE ON plan WHEN NEW.phase = 'failed'");
    const plan_id = await hxo.submit([three]);
    await hxo.until(plan_id, () => hxo.engine.waitsFor(plan_id) !== null);
    expect(hxo.engine.waitsFor(plan_id)).toMatch(/^a restart of HXO/);
    expect(hxo.log.splice(0).join()).toMatch(/could not be ended/);
    allow();
    expect(await hxo.run([three])).toMatchObject({ phase: 'succeeded' });
    await hxo.restart();
    expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded', done_shards: 3 });
  });
});

describe('an error after the commit of results', () => {
  /** Breaks when it is told of shards that are done. */
  function breakAnnounce(): void {
    const announce = hxo.genesis.announce.bind(hxo.genesis);
    hxo.genesis.announce = (events) => {
      if (events.some(({ topic }) => topic === 'hxo.shard.done')) throw new Error('nobody hears');
      announce(events);
    };
  }

  it('has no shard accepted twice, though its worker reports it again, and ends the plan', async () => {
    const twice: Work = async (bundle, worker) => {
      const ordinals = ordinalsOf(bundle);
      if (ordinals.length === 1) return succeed(bundle, worker);
      breakAnnounce();
      // The last shard alone, then all: another row, which no key of the store would refuse.
      const reports = [ordinals.slice(-1), ordinals].map((some) => some.map((ordinal) => done(ordinal)));
      // A transport that hears of an error delivers what it has once more.
      await worker.report(reports[0]!, false).catch(() => {});
      await worker.report(reports[1]!, true).catch(() => {});
    };
    await start(twice);
    const { phase, error, plan_id } = await hxo.run([{ id: 's', config: { waves: [40] } }]);
    expect([phase, error!.code]).toEqual(['failed', 'INTERNAL_ERROR']);
    const { plan_no, revision } = hxo.store.planById(plan_id)!;
    const ordinals = Array.from(hxo.store.results(plan_no, revision, 0), ({ ordinal }) => ordinal);
    expect(new Set(ordinals).size).toBe(ordinals.length);
    expect(hxo.log.splice(0).join()).toMatch(/met an unexpected error.*nobody hears/);
  });
});
