import type { StatusView } from '#hxo';
import { System } from './support/system.js';

const system = new System();
afterAll(() => system.dispose());

it('adds up at every moment of a plan of 2,000 shards, and what is done stays done', async () => {
  system.writeMany(2_000, 180);
  await system.start();
  const stage = { id: 'pack', kind: 'deploy.pack', config: { chunk_size_mb: 0.000_2 } };
  const plan_id = await system.submit(stage);
  const seen = new Set<string>();
  let before: StatusView | undefined;
  let polls = 0;
  for (;;) {
    const status = await system.server.client.status(plan_id);
    polls++;
    seen.add(status.phase);
    for (const counts of [status, ...status.stages]) expect(sumOf(counts)).toBe(counts.total_shards);
    expect(status.done_shards).toBeGreaterThanOrEqual(before?.done_shards ?? 0);
    expect(status.total_shards).toBeGreaterThanOrEqual(before?.total_shards ?? 0);
    if (before?.total_final === true)
      expect(status).toMatchObject({ total_final: true, total_shards: before.total_shards });
    const ended = status.finished_at !== null;
    expect(status.truth_certified).toBe(ended);
    expect(status.merkle_root !== null).toBe(ended);
    if (ended) expect(status.eta_seconds).toBe(0);
    before = status;
    if (ended) break;
  }
  expect(before).toMatchObject({
    phase: 'succeeded',
    total_shards: 2_000,
    done_shards: 2_000,
    pending_shards: 0,
  });
  expect([...seen]).toEqual(expect.arrayContaining(['partitioning', 'running', 'succeeded']));
  expect(polls).toBeGreaterThan(50);
}, 60_000);

function sumOf(
  counts: Pick<StatusView, `${'pending' | 'claimed' | 'running' | 'done' | 'failed'}_shards`>,
): number {
  const { pending_shards, claimed_shards, running_shards, done_shards, failed_shards } = counts;
  return pending_shards + claimed_shards + running_shards + done_shards + failed_shards;
}
