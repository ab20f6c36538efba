import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { collected, done, ordinalsOf, succeed, type Work } from '../../../../test/engine/fake-transport.js';
import { RunningEngine } from '../../../../test/engine/running-engine.js';

let hxo: RunningEngine;
afterEach(() => hxo.close());

const manifest = Buffer.from('the manifest');

/** Stores the manifest of a stage, and `after` that reports its output. */
const collectThen =
  (after: (path: string) => void): Work =>
  async (bundle, worker) => {
    if (bundle.work.type !== 'collect') return succeed(bundle, worker);
    const blob = await hxo.artifacts.put(manifest);
    after(join(hxo.dir, 'artifacts', blob.digest.slice(0, 2), blob.digest.slice(2)));
    const output = { digest: blob.digest, value: null, artifacts: [{ name: 'manifest', ...blob }] };
    await worker.report([{ ...done(0, output), digest: blob.digest, artifacts: [blob] }], true);
  };

it('moves a tampered artifact of a stage aside: the same plan succeeds when it is run again', async () => {
  const tampering = collectThen((path) => writeFileSync(path, 'the manifesT'));
  hxo = await RunningEngine.start({ work: tampering });
  const plan = [{ id: 's', executor: 'collecting', config: { waves: [3] } }];
  const first = await hxo.run(plan);
  expect(first).toMatchObject({ phase: 'failed', error: { code: 'CERTIFICATION_FAILED' } });
  hxo.transport.work = collectThen(() => {});
  expect(await hxo.run(plan)).toMatchObject({ phase: 'succeeded', truth_certified: true });
});

it('waits for a disk that is full while results are gathered and sealed, and says so', async () => {
  hxo = await RunningEngine.start({
    work: async (bundle, worker) => {
      if (bundle.work.type !== 'collect') return succeed(bundle, worker);
      await worker.report([collected(bundle)], true);
      fill();
    },
  });
  const put = hxo.artifacts.put.bind(hxo.artifacts);
  let full = false;
  const fill = (): void => void (full = true);
  hxo.artifacts.put = (bytes) => {
    if (!full) return put(bytes);
    return Promise.reject(Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' }));
  };
  fill();
  const plan_id = await hxo.submit([{ id: 's', executor: 'collecting' }]);
  const gathering = await hxo.until(plan_id, (status) => status.waiting_for !== null);
  expect(gathering).toMatchObject({ phase: 'running', error: null });
  expect(gathering.waiting_for).toMatch(/^Gathering the results of stage s failed \(ENOSPC: .*disk space/);
  // The collector fills the disk again.
  full = false;
  const sealing = await hxo.until(plan_id, ({ waiting_for }) => waiting_for?.startsWith('Sealing') === true);
  expect(sealing).toMatchObject({ phase: 'aggregating', error: null });
  full = false;
  expect(await hxo.end(plan_id)).toMatchObject({ phase: 'succeeded', waiting_for: null, done_shards: 3 });
});

it('a plan that waits for the disk can be aborted', async () => {
  hxo = await RunningEngine.start();
  hxo.artifacts.put = () => Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' }));
  const plan_id = await hxo.submit([{ id: 's' }]);
  await hxo.until(plan_id, (status) => status.waiting_for !== null);
  const { plan_no } = hxo.store.planById(plan_id)!;
  expect(await hxo.engine.abort(plan_no, plan_id, { role: 'admiral' })).toBe('aborted');
  expect(hxo.status(plan_id)).toMatchObject({ phase: 'aborted', waiting_for: null });
});

describe('what a certified plan offers for reuse', () => {
  const plan = [{ id: 's', executor: 'cacheable', config: { waves: [20] } }];

  it('stays while another that did the same work is stopped before its certificate', async () => {
    // Two plans side by side execute the same shards; the second is stopped as it is about to be certified.
    let release = (): void => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    let first: string | null = null;
    hxo = await RunningEngine.start({
      slots: 64,
      work: async (bundle, worker) => {
        first ??= bundle.plan_id;
        if (bundle.plan_id !== first) await held;
        await succeed(bundle, worker);
      },
    });
    const one = await hxo.submit(plan);
    const two = await hxo.submit(plan);
    await hxo.until(two, (status) => status.claimed_shards + status.running_shards > 0);
    expect(await hxo.end(one)).toMatchObject({ phase: 'succeeded', reused_shards: 0 });
    const { plan_no } = hxo.store.planById(two)!;
    const write = hxo.store.write.bind(hxo.store);
    // The certificate never gets written: what is offered before it is.
    hxo.store.write = (work, patience) =>
      write((tx) => {
        const guarded = Object.create(tx, {
          insertCertificate: { value: () => assertNever() },
        }) as typeof tx;
        return work(guarded);
      }, patience);
    release();
    expect((await hxo.end(two)).phase).toBe('failed');
    hxo.log.splice(0);
    expect(hxo.store.certificate(plan_no, 1)).toBeNull();
    hxo.store.write = write;
    expect(await hxo.run(plan)).toMatchObject({ phase: 'succeeded', reused_shards: 20 });
  });

  it('gives way to a newer one when its artifacts are gone', async () => {
    let round = 'one';
    const work: Work = async (bundle, worker) => {
      const blob = await hxo.artifacts.put(Buffer.from(round));
      const output = { ...done(0, round), artifacts: [blob] };
      await worker.report(
        ordinalsOf(bundle).map((ordinal) => ({ ...output, ordinal })),
        true,
      );
    };
    hxo = await RunningEngine.start({ work });
    await hxo.run(plan);
    await hxo.artifacts.quarantine((await hxo.artifacts.put(Buffer.from('one'))).digest);
    round = 'two';
    expect(await hxo.run(plan)).toMatchObject({ phase: 'succeeded', reused_shards: 0 });
    expect(await hxo.run(plan)).toMatchObject({ phase: 'succeeded', reused_shards: 20 });
  });
});

function assertNever(): never {
  throw new Error('The process was stopped here.');
}
