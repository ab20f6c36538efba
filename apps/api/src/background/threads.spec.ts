import { existsSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import type { PartitionSummary } from '#hxo';
import { sha256 } from '#truth';
import { ThreadBackground } from '#adapters/background';
import { SqliteCheckpointStore } from '#adapters/typeorm';

/** A thread cannot run TypeScript: these are what was compiled. */
const scripts = resolve('dist/apps/api/src/background');
const dir = mkdtempSync(join(tmpdir(), 'hxo-background-thread-'));
let background: ThreadBackground;

beforeAll(async () => {
  if (!existsSync(scripts))
    throw new Error('Run `npm run build` first: this spec starts threads from dist/.');
  for (const folder of ['large', 'small']) mkdirSync(join(dir, 'workspace', folder), { recursive: true });
  writeFileSync(join(dir, 'workspace', 'large', 'file'), '');
  // Sparse: takes no space, and minutes to hash.
  truncateSync(join(dir, 'workspace', 'large', 'file'), 200_000_000_000);
  writeFileSync(join(dir, 'workspace', 'small', 'file'), 'x');
  writeFileSync(
    join(dir, 'module.mjs'),
    `export const partitioners = [{ name: 'mine', parse: ({ root }) => root, async *partition(root) {
      yield { wave: 0, weight: 1, inputs: { root }, input_digests: [] };
      return { matched: 2, taken: 1, truncated: 1 };
    } }];`,
  );
  const db_path = join(dir, 'hxo.db');
  const store = await SqliteCheckpointStore.open(db_path, () => {});
  await store.close();
  background = new ThreadBackground(pathToFileURL(`${scripts}/`), {
    db_path,
    artifacts_dir: join(dir, 'artifacts'),
    extra_executors: [pathToFileURL(join(dir, 'module.mjs')).href],
    workspace: { root: join(dir, 'workspace'), forbidden: [] },
  });
});
afterAll(async () => {
  await background.close();
  rmSync(dir, { recursive: true });
});

const partition = (
  root: string,
  signal: AbortSignal,
  partitioner = 'by_filesize',
): Promise<PartitionSummary> => {
  const content = { kind: 'k', executor: 'e', executor_version: '1', dependency_digests: [] };
  const order = { partitioner, config: { root }, options: null, content };
  return background.partition(order, async () => {}, signal);
};

it('partitions with what a module brings', async () => {
  const summary = await partition('anywhere', new AbortController().signal, 'mine');
  expect(summary).toEqual({ matched: 2, taken: 1, truncated: 1 });
});

it('partitions a small folder, and answers, beside a plan that hashes a huge file; an abort ends that one', async () => {
  const abort = new AbortController();
  const nobody = new AbortController().signal;
  const hashing = partition('large', abort.signal);
  await sleep(300);
  const began = performance.now();
  expect(await partition('small', nobody)).toEqual({ matched: 1, taken: 1, truncated: 0 });
  expect(await background.verifyArtifacts([sha256('none')])).toEqual({
    missing: [sha256('none')],
    corrupt: [],
  });
  expect(performance.now() - began).toBeLessThan(5_000);
  const over = new Error('aborted');
  abort.abort(over);
  await expect(hashing).rejects.toBe(over);
  // The thread is idle again: nobody hashes for a plan that has ended. What collects this process's garbage ends, too.
  let busy_ms = Infinity;
  for (let second = 0; second < 10 && busy_ms > 700; second++) {
    const cpu = process.cpuUsage();
    await sleep(1_000);
    busy_ms = process.cpuUsage(cpu).user / 1_000;
  }
  expect(busy_ms).toBeLessThanOrEqual(700);
});
