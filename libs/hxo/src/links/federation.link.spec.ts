import fc from 'fast-check';
import { setTimeout as sleep } from 'node:timers/promises';
import { sha256, type Digest, type Json } from '#truth';
import {
  collected,
  done,
  failed,
  ordinalsOf,
  succeed,
  type Work,
} from '../../../../test/engine/fake-transport.js';
import { RunningEngine } from '../../../../test/engine/running-engine.js';
import type { ResultRow } from '../checkpoint/checkpoint-store.js';
import { lease_losses_max } from '../execute/accept-loss.js';
import { printOutcomes } from '../execute/outcome-lines.js';
import type { Bundle, Outcome } from '../execute/transport.js';
import type { PlanId } from '../plan/plan-spec.js';

let hxo: RunningEngine;
const start = async (...options: Parameters<typeof RunningEngine.start>): Promise<RunningEngine> =>
  (hxo = await RunningEngine.start(...options));
afterEach(() => hxo.close());

const six = { id: 's', config: { waves: [6] } };

function resultsOf(plan_id: PlanId): ResultRow[] {
  const { plan_no, revision } = hxo.store.planById(plan_id)!;
  return [...hxo.store.results(plan_no, revision, 0)];
}

function failuresOf(plan_id: PlanId): string[] {
  const { plan_no } = hxo.store.planById(plan_id)!;
  return hxo.store.failures(plan_no, 0).map(({ ordinal, attempt, code }) => `${ordinal}@${attempt} ${code}`);
}

/** Waits for the first bundle that the worker was given. */
async function firstBundle(): Promise<Bundle> {
  while (hxo.transport.bundles.length === 0) await sleep(1);
  return hxo.transport.bundles[0]!;
}

/** Does as it is told for a shard's attempt; succeeds where it is told nothing. */
function behave(outcomeOf: (ordinal: number, attempt: number) => Outcome | null): Work {
  return (bundle, worker) => {
    if (bundle.work.type === 'collect') return succeed(bundle, worker);
    const outcomes = ordinalsOf(bundle).map((ordinal) => outcomeOf(ordinal, bundle.attempt) ?? done(ordinal));
    return worker.report(outcomes, true);
  };
}

describe('leasing and accepting', () => {
  it('accepts every shard once, with bundles that grow', async () => {
    await start({ slots: 4 });
    const { phase, plan_id, done_shards } = await hxo.run([{ id: 's', config: { waves: [400, 0, 100] } }]);
    expect([phase, done_shards]).toEqual(['succeeded', 500]);
    expect(resultsOf(plan_id as PlanId).map(({ ordinal }) => ordinal)).toEqual(
      Array.from({ length: 500 }, (_, i) => i),
    );
    expect(hxo.transport.bundles.length).toBeLessThan(250);
    const numbers = hxo.transport.bundles.map(({ bundle }) => bundle);
    expect(new Set(numbers).size).toBe(numbers.length);
  });

  it('accepts together what shards of one lease report faster than commits follow each other', async () => {
    const shards = 500;
    await start({
      work: async (bundle, worker) => {
        const reports = ordinalsOf(bundle).map((ordinal) => worker.report([done(ordinal)], false));
        await Promise.all([...reports, worker.report([], true)]);
      },
    });
    const { plan_id } = await hxo.run([{ id: 's', config: { waves: [shards] } }]);
    expect(resultsOf(plan_id as PlanId)).toHaveLength(shards);
    const { plan_no, revision } = hxo.store.planById(plan_id)!;
    const rows = [...hxo.store.resultBatches(plan_no, revision, 0)];
    expect(rows.length).toBeLessThan(shards / 5);
  });

  it('lets a report that cannot be read spoil none of those that are accepted with it', async () => {
    await start({
      slots: 1,
      work: async (bundle, worker) => {
        if (bundle.attempt > 1) return succeed(bundle, worker);
        // While the first is committed, the others gather.
        const reports = ordinalsOf(bundle).map((ordinal) =>
          worker.tell(ordinal % 10 === 5 ? `${ordinal}\t1\tdo` : printOutcomes([done(ordinal)]), false),
        );
        await Promise.all([...reports, worker.tell('', true)]);
      },
    });
    const { plan_id, phase } = await hxo.run([{ id: 's', config: { waves: [200] } }]);
    expect(phase).toBe('succeeded');
    const bad = Array.from({ length: 20 }, (_, i) => 10 * i + 5);
    expect(failuresOf(plan_id as PlanId)).toEqual(bad.map((ordinal) => `${ordinal}@1 RESULT_REJECTED`));
    const again = resultsOf(plan_id as PlanId).filter(({ attempt }) => attempt > 1);
    expect(again.map(({ ordinal }) => ordinal)).toEqual(bad);
  });

  it('leaves rows and root as they are when each batch comes three times, shuffled', async () => {
    await start();
    const { merkle_root } = await hxo.run([six]);
    hxo.transport.work = async (bundle, worker) => {
      const ordinals = ordinalsOf(bundle);
      const batches = ordinals.flatMap((ordinal) => [[done(ordinal)], [done(ordinal)], [done(ordinal)]]);
      const [shuffled] = fc.sample(fc.shuffledSubarray(batches, { minLength: batches.length }), 1);
      await Promise.all(shuffled!.map((batch) => worker.report(batch, false)));
      // The last word twice more as well.
      await Promise.all(
        [0, 1, 2].map(() =>
          worker.report(
            [...ordinals, ...ordinals].map((o) => done(o)),
            true,
          ),
        ),
      );
    };
    const again = await hxo.run([six]);
    expect(again).toMatchObject({ phase: 'succeeded', merkle_root, done_shards: 6 });
    expect(resultsOf(again.plan_id as PlanId)).toHaveLength(6);
    const done_events = hxo.events.filter(
      (event) => event.topic === 'hxo.shard.done' && event.plan_id === again.plan_id,
    );
    expect(done_events.flatMap(({ data }) => (data as { shards: unknown[] }).shards)).toHaveLength(6);
    expect(await hxo.auditOf('result.nondeterministic')).toEqual([]);
  });

  it.each<
    [string, (worker: { report(o: Outcome[], f: boolean): Promise<void> }, o: number) => Promise<void>]
  >([
    [
      'in a later batch',
      async (worker, ordinal) => {
        await worker.report([done(ordinal, 'first')], false);
        await worker.report([done(ordinal, 'second')], true);
      },
    ],
    [
      'in the same batch',
      (worker, ordinal) => worker.report([done(ordinal, 'first'), done(ordinal, 'second')], true),
    ],
  ])('lets the first result stand and audits another one %s', async (_, report) => {
    await start({ work: (bundle, worker) => report(worker, ordinalsOf(bundle)[0]!) });
    const { plan_id, phase } = await hxo.run([{ id: 's', config: { waves: [1] } }]);
    expect(phase).toBe('succeeded');
    expect(resultsOf(plan_id as PlanId)[0]!.value).toBe('"first"');
    expect(await hxo.auditOf('result.nondeterministic')).toEqual([
      {
        ...{ code: 'NONDETERMINISTIC', stage: 's', contradictions: 1 },
        shards: [{ ordinal: 0, rejected: sha256('"second"') }],
      },
    ]);
  });

  it.each<[string, Outcome[]]>([
    ['done, then failed', [done(0), failed(0, 'retry')]],
    ['done, then failed for good', [done(0), failed(0, 'fail')]],
    ['done, then halted', [done(0), failed(0, 'halt')]],
  ])('hears only the first word on a shard: %s', async (_, outcomes) => {
    await start({ work: (_, worker) => worker.report(outcomes, true) });
    const status = await hxo.run([{ id: 's', config: { waves: [1] } }]);
    expect(status).toMatchObject({ phase: 'succeeded', done_shards: 1, failed_shards: 0 });
    expect(failuresOf(status.plan_id as PlanId)).toEqual([]);
  });

  it('drops what comes below the fence', async () => {
    await start({
      work: async (bundle, worker) => {
        if (bundle.attempt === 1) worker.die();
        else await succeed(bundle, worker);
      },
    });
    const { plan_id } = await hxo.run([six]);
    const before = resultsOf(plan_id as PlanId);
    for (const bundle of hxo.transport.bundles.filter(({ attempt }) => attempt === 1)) {
      const zombie = hxo.transport.workerOf(bundle);
      await zombie.report(
        ordinalsOf(bundle).map((ordinal) => done(ordinal, 'late')),
        true,
      );
      zombie.die();
    }
    expect(resultsOf(plan_id as PlanId)).toEqual(before);
    expect(before.map(({ attempt }) => attempt)).toEqual([2, 2, 2, 2, 2, 2]);
  });

  it('drops what comes late while the shard is leased again', async () => {
    const held: Bundle[] = [];
    await start({
      slots: 1,
      work: async (bundle, worker) => {
        if (bundle.attempt === 1) worker.die();
        else held.push(bundle);
      },
    });
    const plan_id = await hxo.submit([{ id: 's', config: { waves: [1] } }]);
    while (held.length === 0) await sleep(1);
    await hxo.transport.workerOf(hxo.transport.bundles[0]!).report([done(0, 'late')], true);
    // Nor does a worker get in with an attempt that it has made up.
    await hxo.transport.workerOf(held[0]!).report([done(0, 'forged')], true, 3);
    expect(resultsOf(plan_id)).toEqual([]);
    await hxo.transport.workerOf(held[0]!).report([done(0)], true);
    expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded', done_shards: 1 });
    expect(resultsOf(plan_id)[0]).toMatchObject({ attempt: 2, value: '{"shard":0}' });
  });

  describe('compares what comes when its lease is over', () => {
    /** Holds the last shard, so that the plan lives on. */
    const holdLast: Work = async (bundle, worker) => {
      if (!ordinalsOf(bundle).includes(39)) await succeed(bundle, worker);
    };
    const bundleThat = async (holds: (bundle: Bundle) => boolean): Promise<Bundle> => {
      for (;;) {
        const found = hxo.transport.bundles.find(holds);
        if (found !== undefined) return found;
        await sleep(1);
      }
    };
    const several = (bundle: Bundle): boolean =>
      ordinalsOf(bundle).length > 10 && !ordinalsOf(bundle).includes(39);
    const audited = (): Promise<Json[]> => hxo.auditOf('result.nondeterministic');

    it('with the results that stand: what agrees is a duplicate, what does not is audited, one entry a report', async () => {
      await start({ slots: 1, work: holdLast });
      const plan_id = await hxo.submit([{ id: 's', config: { waves: [40] } }]);
      const last = await bundleThat((bundle) => ordinalsOf(bundle).includes(39));
      const over = await bundleThat(several);
      const ordinals = ordinalsOf(over);
      const { board } = hxo.engine.find(plan_id)!.stages[0]!;
      while (ordinals.some((ordinal) => board.phaseOf(ordinal) !== 'done')) await sleep(1);
      const before = resultsOf(plan_id);
      const late = hxo.transport.workerOf(over);
      await late.report(
        ordinals.map((ordinal) => done(ordinal)),
        true,
      );
      await late.tell(`${ordinals[0]}\t1\tdo`, true);
      await late.report([failed(ordinals[0]!, 'fail'), done(1_000, 'nobody has leased this')], true);
      await late.report([done(ordinals[0]!, 'forged')], true, 2);
      expect(await audited()).toEqual([]);
      await late.report(
        ordinals.map((ordinal) => done(ordinal, 'late')),
        true,
      );
      const rejected = sha256('"late"');
      const shards = ordinals.slice(0, 10).map((ordinal) => ({ ordinal, rejected }));
      const entry = { code: 'NONDETERMINISTIC', stage: 's', contradictions: ordinals.length, shards };
      expect(await audited()).toEqual([entry]);
      expect(resultsOf(plan_id)).toEqual(before);
      await succeed(last, hxo.transport.workerOf(last));
      expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded', done_shards: 40 });
    });

    it('below the fence too, once somebody else has ended the shard', async () => {
      await start({
        slots: 1,
        work: async (bundle, worker) => {
          if (bundle.attempt === 1 && ordinalsOf(bundle).includes(0)) worker.die();
          else await holdLast(bundle, worker);
        },
      });
      const plan_id = await hxo.submit([{ id: 's', config: { waves: [40] } }]);
      const last = await bundleThat((bundle) => ordinalsOf(bundle).includes(39));
      const { board } = hxo.engine.find(plan_id)!.stages[0]!;
      while (board.phaseOf(0) !== 'done') await sleep(1);
      const zombie = hxo.transport.workerOf(hxo.transport.bundles[0]!);
      await zombie.report([done(0)], true);
      expect(await audited()).toEqual([]);
      await zombie.report([done(0, 'late')], true);
      expect(await audited()).toMatchObject([{ contradictions: 1, shards: [{ ordinal: 0 }] }]);
      expect(resultsOf(plan_id)[0]).toMatchObject({ attempt: 2, value: '{"shard":0}' });
      await succeed(last, hxo.transport.workerOf(last));
      await hxo.end(plan_id);
    });
  });

  it('accepts what comes late while nobody else has been given the shard', async () => {
    await start({
      slots: 1,
      work: async (_, worker) => {
        // The only worker is out of reach: what it had waits for it, or for another.
        hxo.transport.resize(0);
        worker.die();
      },
    });
    const plan_id = await hxo.submit([{ id: 's', config: { waves: [1] } }]);
    const bundle = await firstBundle();
    const { board } = hxo.engine.find(plan_id)!.stages[0]!;
    while (board.lossesOf(0) === 0) await sleep(1);
    expect([board.attemptOf(0), board.phaseOf(0)]).toEqual([1, 'pending']);
    const back = hxo.transport.workerOf(bundle);
    await back.report([done(0, 'forged')], true, 2);
    expect(resultsOf(plan_id)).toEqual([]);
    await back.report([], false);
    await back.report([done(0)], true);
    expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded', done_shards: 1 });
    expect(resultsOf(plan_id)[0]).toMatchObject({ attempt: 1, value: '{"shard":0}' });
    expect(hxo.transport.bundles).toHaveLength(1);
    const { plan_no } = hxo.store.planById(plan_id)!;
    expect(hxo.store.bundle(plan_no, bundle.bundle)).toMatchObject({ state: 'closed' });
  });

  it('frees shards of a bundle that ended without a word on them, at no charge', async () => {
    await start({
      slots: 1,
      work: (bundle, worker) => (bundle.attempt === 1 ? worker.report([], true) : succeed(bundle, worker)),
    });
    const { plan_id, phase } = await hxo.run([six]);
    expect(phase).toBe('succeeded');
    expect(failuresOf(plan_id as PlanId)).toEqual([]);
    const { plan_no } = hxo.store.planById(plan_id)!;
    expect([...hxo.store.bundles(plan_no)].map(({ state }) => state)).not.toContain('lost');
  });

  it('is not confused by a worker that dies right after its last word', async () => {
    await start({
      work: async (bundle, worker) => {
        const reported = worker.report(
          bundle.attempt === 1 ? [] : ordinalsOf(bundle).map((o) => done(o)),
          true,
        );
        hxo.transport.workerOf(bundle).die();
        await reported;
      },
    });
    expect(await hxo.run([six])).toMatchObject({ phase: 'succeeded', done_shards: 6 });
  });
});

describe('results that are not what they should be', () => {
  const missing = { digest: sha256('nobody has stored this'), bytes: 7 };
  it.each<[string, Partial<Extract<Outcome, { status: 'done' }>>, string]>([
    ['no digest', { digest: 'ABC' as Digest }, 'The digest is not 64 hex digits.'],
    ['an oversized value', { value: `"${'x'.repeat(10_000_000)}"` }, 'The value is longer than 65536 bytes.'],
    ['a missing artifact', { artifacts: [missing] }, `Artifact ${missing.digest} is not in the store.`],
  ])('are rejected, audited and retried: %s', async (_, wrong, message) => {
    const poison = (ordinal: number): Outcome => ({ ...done(ordinal), ...wrong });
    await start({ work: behave((ordinal, attempt) => (ordinal === 2 && attempt === 1 ? poison(2) : null)) });
    const { phase, plan_id } = await hxo.run([six]);
    expect(phase).toBe('succeeded');
    expect(failuresOf(plan_id as PlanId)).toEqual(['2@1 RESULT_REJECTED']);
    expect(resultsOf(plan_id as PlanId)[2]).toMatchObject({ attempt: 2, value: '{"shard":2}' });
    expect(await hxo.auditOf('result.rejected')).toEqual([
      { code: 'RESULT_REJECTED', rejected: 1, shards: [{ message, ordinal: 2 }], stage: 's' },
    ]);
  });

  it('are rejected when their artifact is of another length', async () => {
    await start();
    const { digest, bytes } = await hxo.artifacts.put(Buffer.from('blob'));
    hxo.transport.work = behave((ordinal, attempt) => ({
      ...done(ordinal),
      artifacts: [{ digest, bytes: attempt === 1 ? bytes + 1 : bytes }],
    }));
    const { phase, plan_id } = await hxo.run([{ id: 's', config: { waves: [1] } }]);
    expect(phase).toBe('succeeded');
    expect(failuresOf(plan_id as PlanId)).toEqual(['0@1 RESULT_REJECTED']);
  });

  it('are rejected and audited when they speak of a shard of somebody else; their own is leased again', async () => {
    await start({
      slots: 1,
      work: behave((ordinal, attempt) => (attempt === 1 ? done(ordinal + 10) : null)),
    });
    const { phase, plan_id, done_shards } = await hxo.run([{ id: 's', config: { waves: [12] } }]);
    expect([phase, done_shards]).toEqual(['succeeded', 12]);
    expect(resultsOf(plan_id as PlanId).every(({ attempt }) => attempt === 2)).toBe(true);
    const audited = (await hxo.auditOf('result.rejected')) as { shards: Json[] }[];
    expect(audited[0]!.shards[0]).toEqual({ ordinal: 10, message: 'Shard 10 is not part of the lease.' });
  });

  it.each<[string, (bundle: Bundle) => Outcome]>([
    ['no JSON', (bundle) => ({ ...collected(bundle), value: 'nonsense' }) as Outcome],
    ['null', (bundle) => ({ ...collected(bundle), value: 'null' }) as Outcome],
    ['another digest', (bundle) => ({ ...collected(bundle), digest: sha256('other') }) as Outcome],
    ['the ordinal of no collector', (bundle) => ({ ...collected(bundle), ordinal: 3 })],
  ])('are rejected from a collector too: %s', async (_, wrong) => {
    let collections = 0;
    await start({
      work: (bundle, worker) =>
        bundle.work.type === 'collect' && ++collections === 1
          ? worker.report([wrong(bundle)], true)
          : succeed(bundle, worker),
    });
    expect(await hxo.run([{ ...six, executor: 'collecting' }])).toMatchObject({ phase: 'succeeded' });
    expect(collections).toBe(2);
  });
});

describe('failures and lost leases', () => {
  it('retries up to max_failures, then the shard has failed', async () => {
    await start({ work: behave((ordinal) => (ordinal === 1 ? failed(1, 'retry') : null)) });
    const status = await hxo.run([six]);
    expect(status).toMatchObject({
      phase: 'failed',
      done_shards: 5,
      failed_shards: 1,
      truth_certified: true,
    });
    expect(status.error).toEqual({ code: 'SHARDS_FAILED', detail: '1 of 6 shards failed, 0 skipped.' });
    expect(failuresOf(status.plan_id as PlanId)).toEqual(['1@1 BROKEN', '1@2 BROKEN', '1@3 BROKEN']);
    expect(resultsOf(status.plan_id as PlanId)[1]).toMatchObject({ status: 'failed', attempt: 3 });
    const told = hxo.events.filter(({ topic }) => topic === 'hxo.shard.failed');
    const finals = told.flatMap(({ data }) => (data as { shards: { final: boolean }[] }).shards);
    expect(finals.map(({ final }) => final)).toEqual([false, false, true]);
  });

  it('fails at once on the verdict fail', async () => {
    await start({ work: behave((ordinal) => (ordinal === 1 ? failed(1, 'fail', 'BAD_INPUT') : null)) });
    const { plan_id, failed_shards } = await hxo.run([six]);
    expect(failed_shards).toBe(1);
    expect(failuresOf(plan_id as PlanId)).toEqual(['1@1 BAD_INPUT']);
  });

  it('does not charge a shard whose worker halted', async () => {
    await start({ work: behave((_, attempt) => (attempt <= 5 ? failed(0, 'halt') : null)) });
    const { plan_id, phase } = await hxo.run([{ id: 's', config: { waves: [1] } }]);
    expect(phase).toBe('succeeded');
    expect(failuresOf(plan_id as PlanId)).toEqual([]);
    expect(resultsOf(plan_id as PlanId)[0]!.attempt).toBe(6);
  });

  it('does not let a shard halt one worker after the other for ever', async () => {
    await start({ work: behave((ordinal) => failed(ordinal, 'halt', 'BAD_INSTALL')) });
    const { plan_id, phase } = await hxo.run([{ id: 's', config: { waves: [1] } }]);
    expect(phase).toBe('failed');
    expect(failuresOf(plan_id as PlanId)).toEqual([`0@${lease_losses_max + 1} BAD_INSTALL`]);
  });

  it('remembers over a restart how many workers a shard has halted', async () => {
    const halt: Work = async (bundle, worker) =>
      bundle.attempt <= 3 ? worker.report([failed(0, 'halt', 'BAD_INSTALL')], true) : undefined;
    await start({ work: halt });
    const plan_id = await hxo.submit([{ id: 's', config: { waves: [1] } }]);
    await firstBundle();
    const { board } = hxo.engine.find(plan_id)!.stages[0]!;
    while (board.attemptOf(0) < 4 || board.phaseOf(0) !== 'running') await sleep(1);
    await hxo.restart(async () => {});
    // Three that it has halted, and the fourth, which went with the process.
    expect(hxo.engine.find(plan_id)!.stages[0]!.board.lossesOf(0)).toBe(4);
    await hxo.restart();
    expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded' });
    expect(failuresOf(plan_id)).toEqual([]);
  });

  it('charges a shard with nothing for a full disk, waits ever longer for room, and says so', async () => {
    await start({ work: behave((_, attempt) => (attempt <= 30 ? failed(0, 'halt', 'ENOSPC') : null)) });
    const retry = { max_failures: 1, backoff_ms: 2_000, backoff_max_ms: 30_000 };
    const plan_id = await hxo.submit([{ id: 's', config: { waves: [1] }, retry }]);
    await firstBundle();
    const { board } = hxo.engine.find(plan_id)!.stages[0]!;
    const wait = async (attempt: number): Promise<void> => {
      while (board.attemptOf(0) < attempt || board.phaseOf(0) !== 'retrying') await sleep(2);
    };
    await wait(1);
    expect(hxo.engine.waitsFor(plan_id)).toBe('room on the disk of fake-1');
    await sleep(200);
    expect(hxo.transport.bundles).toHaveLength(1);
    hxo.later_ms += 1_000; // The least that the first back-off may be, and the second may not.
    await wait(2);
    hxo.later_ms += 1_000;
    await sleep(200);
    expect(hxo.transport.bundles).toHaveLength(2);
    for (let attempt = 2; attempt <= 30; attempt++) {
      await wait(attempt);
      hxo.later_ms += 30_000;
    }
    expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded' });
    expect([board.failuresOf(0), board.lossesOf(0), failuresOf(plan_id)]).toEqual([0, 0, []]);
    expect(hxo.transport.bundles).toHaveLength(31);
  });

  it('does not charge a shard whose lease was lost with its worker', async () => {
    const work: Work = async (bundle, worker) => {
      if (bundle.attempt < 5) worker.die();
      else await succeed(bundle, worker);
    };
    await start({ work });
    const { plan_id, phase } = await hxo.run([six]);
    expect(phase).toBe('succeeded');
    expect(failuresOf(plan_id as PlanId)).toEqual([]);
    // What may have killed two workers is given to the next one alone.
    const later = hxo.transport.bundles.filter(({ attempt }) => attempt >= 3);
    expect(later.every((bundle) => ordinalsOf(bundle).length === 1)).toBe(true);
  });

  it('bounds the leases that a shard may lose', async () => {
    await start({ work: async (_, worker) => worker.die() });
    const plan_id = await hxo.submit([{ id: 's', config: { waves: [1] } }]);
    const [stage] = hxo.engine.find(plan_id)!.stages;
    expect(await hxo.end(plan_id)).toMatchObject({ phase: 'failed' });
    expect(stage!.board.lossesOf(0)).toBe(lease_losses_max + 1);
    expect(hxo.transport.bundles).toHaveLength(lease_losses_max + 1);
    expect(JSON.parse(resultsOf(plan_id)[0]!.value)).toMatchObject({ code: 'LEASES_LOST' });
  });

  it.each<[string, number]>([
    ['halt_stage', 3],
    ['halt_plan', 0],
  ])('follows %s when a shard fails because its leases were lost', async (failure_policy, done_after) => {
    // The shard goes first whenever it is back, so that one of the others ends for each of its leases at most.
    const work: Work = async (bundle, worker) => {
      if (bundle.stage === 's' && ordinalsOf(bundle).includes(0)) worker.die();
      else await succeed(bundle, worker);
    };
    await start({ slots: 1, max_concurrency: 1, work });
    const status = await hxo.run([
      { id: 's', config: { waves: [20_000] }, failure_policy },
      { id: 'after', config: { waves: [3] }, dependencies: ['beside'] },
      { id: 'beside', config: { waves: [20_000] } },
    ]);
    const [s, after] = status.stages;
    expect(s!.failed_shards).toBe(1);
    expect(s!.skipped_shards).toBeGreaterThan(1_000);
    expect(after!.done_shards).toBe(done_after);
    const { plan_no } = hxo.store.planById(status.plan_id)!;
    const [failure] = hxo.store.failedResults(plan_no, 1, 1);
    expect(JSON.parse(failure!.result.value)).toMatchObject({ code: 'LEASES_LOST' });
  });

  it('gives a collector a limit of its own, and none where shards have none', async () => {
    await start();
    const limits = [1_000, 3_600_000, 0];
    await hxo.run(
      limits.map((shard_timeout_ms) => ({
        ...{ id: `s${shard_timeout_ms}`, executor: 'collecting', config: { waves: [1] }, shard_timeout_ms },
      })),
    );
    const collects = hxo.transport.bundles.filter(({ work }) => work.type === 'collect');
    expect(Object.fromEntries(collects.map((bundle) => [bundle.stage, bundle.shard_timeout_ms]))).toEqual({
      s1000: 600_000,
      s3600000: 3_600_000,
      s0: 0,
    });
  });

  it('takes a lease back when nothing was heard of its worker for its term', async () => {
    await start({
      slots: 1,
      work: async (bundle, worker) => (bundle.attempt === 1 ? undefined : succeed(bundle, worker)),
    });
    const plan_id = await hxo.submit([{ id: 's', config: { waves: [1] } }]);
    await hxo.until(plan_id, ({ running_shards }) => running_shards === 1);
    hxo.later_ms = 28_000;
    await sleep(1_100);
    expect(hxo.transport.bundles).toHaveLength(1);
    hxo.later_ms = 31_000;
    expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded' });
    expect(hxo.transport.bundles.map(({ attempt }) => attempt)).toEqual([1, 2]);
  });

  it('retries a collector, and fails the plan when it fails for good', async () => {
    let collections = 0;
    const verdicts: ('retry' | 'fail')[] = ['retry', 'fail'];
    await start({
      work: (bundle, worker) =>
        bundle.work.type === 'collect'
          ? worker.report([failed(0, verdicts[collections++]!)], true)
          : succeed(bundle, worker),
    });
    const { phase, error } = await hxo.run([{ ...six, executor: 'collecting' }]);
    expect(phase).toBe('failed');
    expect(error).toMatchObject({ code: 'COLLECT_FAILED' });
    expect(collections).toBe(2);
  });

  it('leases a collector anew when its worker dies', async () => {
    let collections = 0;
    await start({
      work: async (bundle, worker) => {
        if (bundle.work.type === 'collect' && ++collections < 3) worker.die();
        else await succeed(bundle, worker);
      },
    });
    const { phase, stages } = await hxo.run([{ ...six, executor: 'collecting' }]);
    expect([phase, collections]).toEqual(['succeeded', 3]);
    expect(stages[0]!.output).toBe(sha256('s'));
  });
});

describe('the window', () => {
  it.each([1, 2, 5, 64])('never lets more than HXO_MAX_CONCURRENCY %i execute', async (max_concurrency) => {
    await start({
      ...{ slots: 4, max_concurrency },
      work: async (bundle, worker) => {
        await sleep(1);
        await succeed(bundle, worker);
      },
    });
    const stages = ['plain', 'io', 'collecting', 'collecting'].map((executor, i) => ({
      ...{ id: `s${i}`, executor, config: { waves: [30] } },
    }));
    const [one, two] = await Promise.all([hxo.run(stages), hxo.run(stages)]);
    expect([one.phase, two.phase]).toEqual(['succeeded', 'succeeded']);
    expect(hxo.transport.peak).toBeLessThanOrEqual(max_concurrency);
    expect(hxo.transport.peak).toBeGreaterThanOrEqual(Math.min(max_concurrency, 4));
  });

  it.each([
    ['by_waves', 4, false],
    ['by_turns', 1, true],
  ])('keeps bundles of %s in flight for %i slots of 4', async (partitioner, slots, one_by_one) => {
    let in_flight = 0;
    let peak = 0;
    await start({
      slots: 4,
      work: async (bundle, worker) => {
        peak = Math.max(peak, ++in_flight);
        await sleep(1);
        in_flight--;
        await worker.report(
          ordinalsOf(bundle).map((ordinal) => ({ ...done(ordinal), duration_ms: 200 })),
          true,
        );
      },
    });
    const status = await hxo.run([{ id: 's', partitioner, config: { waves: [30] } }]);
    expect(status).toMatchObject({ phase: 'succeeded', done_shards: 30 });
    expect(hxo.transport.bundles.every((bundle) => bundle.one_by_one === one_by_one)).toBe(true);
    if (one_by_one) expect(peak).toBe(slots);
    else expect(peak).toBeGreaterThanOrEqual(slots);
  });

  it('gives a small plan its turn while bundles of a fast one with the same executor fill the window', async () => {
    const held: (() => Promise<void>)[] = [];
    let big: PlanId | null = null;
    const fast: Work = (bundle, worker) =>
      worker.report(
        ordinalsOf(bundle).map((ordinal) => ({ ...done(ordinal), duration_ms: 0.001 })),
        true,
      );
    await start({
      slots: 2,
      work: (bundle, worker) => {
        if (bundle.plan_id !== big || bundle.bundle < 20) return fast(bundle, worker);
        return new Promise((resolve) => held.push(() => fast(bundle, worker).then(resolve)));
      },
    });
    big = await hxo.submit([{ id: 'many', config: { waves: [40_000] } }]);
    try {
      await hxo.until(big, () => held.length >= 10);
      expect(await hxo.run([{ id: 'few', config: { waves: [3] } }])).toMatchObject({ phase: 'succeeded' });
    } finally {
      const plan = big;
      big = null;
      for (const go of held) await go();
      await hxo.end(plan);
    }
  });

  it('leases for others while an executor with bundles in flight has lost its workers', async () => {
    const held: (() => Promise<void>)[] = [];
    await start({
      ...{ slots: 2, max_concurrency: 8 },
      work: (bundle, worker) => {
        if (bundle.executor !== 'io') return succeed(bundle, worker);
        return new Promise((resolve) => held.push(() => succeed(bundle, worker).then(resolve)));
      },
    });
    const io = await hxo.submit([{ id: 'io', executor: 'io', config: { waves: [4] } }]);
    await hxo.until(io, ({ claimed_shards, running_shards }) => claimed_shards + running_shards === 4);
    hxo.transport.slotless.add('io');
    expect(await hxo.run([six])).toMatchObject({ phase: 'succeeded' });
    hxo.transport.slotless.clear();
    for (const go of held) await go();
    expect(await hxo.end(io)).toMatchObject({ phase: 'succeeded' });
  });

  it('stays within HXO_MAX_CONCURRENCY when workers join', async () => {
    const work: Work = async (bundle, worker) => {
      await sleep(5);
      await succeed(bundle, worker);
    };
    await start({ slots: 1, max_concurrency: 70, work });
    const plan = await hxo.submit([{ id: 'io', executor: 'io', config: { waves: [3_000] } }]);
    await hxo.until(plan, ({ done_shards }) => done_shards > 200);
    hxo.transport.resize(16);
    await hxo.end(plan);
    expect(hxo.transport.peak).toBeLessThanOrEqual(70);
  });

  it('starts a wave only when the one before is done, and never after a failure', async () => {
    const begun: number[] = [];
    await start({
      work: behave((ordinal) => {
        begun.push(ordinal);
        return ordinal === 7 ? failed(7, 'fail') : null;
      }),
    });
    const status = await hxo.run([{ id: 's', config: { waves: [5, 5, 5] } }]);
    expect(status).toMatchObject({ phase: 'failed', done_shards: 9, failed_shards: 1, skipped_shards: 5 });
    expect(Math.max(...begun.slice(0, 5))).toBe(4);
    expect(Math.max(...begun)).toBe(9);
  });

  it('gives a small plan its turn beside a large one', async () => {
    await start({
      slots: 1,
      work: async (bundle, worker) => {
        await sleep(5);
        await succeed(bundle, worker);
      },
    });
    const large = await hxo.submit([{ id: 's', config: { waves: [5_000] } }]);
    await firstBundle();
    const small = await hxo.run([{ id: 's', config: { waves: [3] } }]);
    expect(small.phase).toBe('succeeded');
    expect(hxo.status(large).finished_at).toBeNull();
    await hxo.end(large);
  });
});
