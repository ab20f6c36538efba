import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import {
  BackgroundError,
  type PartitionOrder,
  type PartitionSummary,
  type ReceiptOrder,
  type SegmentDraft,
} from '#hxo';
import { sha256 } from '#truth';
import { ThreadBackground } from './thread-background.js';

/** A thread cannot run TypeScript: it serves what was compiled. */
const serve = resolve('dist/libs/adapters/background/serve.js');
const dir = mkdtempSync(join(tmpdir(), 'hxo-background-'));
const scripts = pathToFileURL(`${dir}/`);
let background: ThreadBackground;

beforeAll(() => {
  if (!existsSync(serve)) throw new Error('Run `npm run build` first: this spec starts a thread from dist/.');
  writeFileSync(join(dir, 'package.json'), '{"type":"module"}');
  const script = `import { workerData, threadId } from 'node:worker_threads';
     import { serveBackground } from ${JSON.stringify(pathToFileURL(serve).href)};
     let made = 0;
     const never = new Promise(() => {});
     serveBackground({
       async partition({ config }, emit, signal) {
         const before = made;
         made = 0;
         const aborted = new Promise((resolve) => signal.addEventListener('abort', () => resolve(made = -1)));
         if (config.silent) await aborted;
         for (let i = 0; i < config.parts; i++) { made++; await emit([{ part: i }]); }
         if (config.fail) throw Object.assign(new RangeError('no such folder'), { code: 'ENOSPC' });
         if (config.endless) for (;;);
         return { matched: made, taken: made, truncated: before };
       },
       verifyArtifacts: async () => ({ missing: [workerData.name, String(threadId)], corrupt: [] }),
       gatherResults: async () => process.exit(3),
       sealPlan: async () => { for (;;); },
       makeReceipt: () => never,
       search: async ({ query, limit }) => ({ total: limit, items: [query] }),
     });`;
  for (const thread of ['partitioning', 'answering', 'searching'])
    writeFileSync(join(dir, `${thread}-thread.js`), script);
});
beforeEach(() => (background = new ThreadBackground(scripts, { name: 'data' })));
afterEach(() => background.close());
afterAll(() => rmSync(dir, { recursive: true }));

const order = (config: object): PartitionOrder => ({ config }) as PartitionOrder;
const plan = { plan_no: 1, revision: 1 };
const nobody = new AbortController().signal;
const nothing = async (): Promise<void> => {};
const partition = (
  config: object,
  onSegments: (segments: readonly SegmentDraft[]) => Promise<void> = nothing,
  signal = nobody,
): Promise<PartitionSummary> => background.partition(order(config), onSegments, signal);
/** What the answering thread was started with, and its number. */
const about = async (): Promise<string[]> => (await background.verifyArtifacts([])).missing;
/** How many parts the partitioning before has made; -1 when it heard that it is over. */
const madeBefore = async (): Promise<number> => (await partition({ parts: 0 })).truncated;

it('sends parts in order, each when the last was taken, then the result', async () => {
  const taken: unknown[] = [];
  let taking = 0;
  const summary = await partition({ parts: 20 }, async (segments) => {
    expect(++taking).toBe(1);
    await sleep(1);
    taking--;
    taken.push(...segments);
  });
  expect(summary).toEqual({ matched: 20, taken: 20, truncated: 0 });
  expect(taken).toEqual(Array.from({ length: 20 }, (_, part) => ({ part })));
});

it('passes on what the thread threw, by name and code', async () => {
  const failing = partition({ parts: 1, fail: true });
  await expect(failing).rejects.toBeInstanceOf(BackgroundError);
  await expect(failing).rejects.toMatchObject({
    name: 'RangeError',
    message: 'no such folder',
    code: 'ENOSPC',
  });
});

it('rejects with what the caller threw, and has the thread stop', async () => {
  const full = new Error('more than max_shards');
  const stopped = partition({ parts: 1_000 }, async ([segment]) => {
    if ((segment as unknown as { part: number }).part === 4) throw full;
  });
  await expect(stopped).rejects.toBe(full);
  await sleep(20);
  expect(await madeBefore()).toBe(-1);
});

it('rejects with the reason of an abort at once, and has the thread stop', async () => {
  const abort = new AbortController();
  const over = new Error('aborted');
  const silent = partition({ parts: 0, silent: true }, nothing, abort.signal);
  await sleep(100);
  abort.abort(over);
  await expect(silent).rejects.toBe(over);
  expect(await madeBefore()).toBe(-1);
  await expect(partition({ parts: 1 }, nothing, abort.signal)).rejects.toBe(over);
});

it('ends a part that is being taken when the abort comes', async () => {
  const abort = new AbortController();
  const taking = partition(
    { parts: 2 },
    async () => {
      abort.abort(new Error('aborted'));
      await sleep(20);
    },
    abort.signal,
  );
  await expect(taking).rejects.toThrow('aborted');
  await sleep(50);
  expect(await madeBefore()).toBe(-1);
});

it('answers while a partitioning keeps its thread busy, with the data that it was given', async () => {
  const endless = partition({ parts: 0, endless: true });
  const rejected = expect(endless).rejects.toMatchObject({ name: 'ThreadDied' });
  await sleep(50);
  expect((await about())[0]).toBe('data');
  await background.close();
  await rejected;
});

it('searches while the thread that answers is busy', async () => {
  const sealing = expect(background.sealPlan(plan)).rejects.toMatchObject({ name: 'ThreadDied' });
  const order = { index: sha256('index'), documents: sha256('documents'), query: 'words', limit: 3 };
  expect(await background.search(order)).toEqual({ total: 3, items: ['words'] });
  await background.close();
  await sealing;
});

it('rejects what was under way when the thread dies, and starts another at the next call', async () => {
  const [, first] = await about();
  const partitioning = partition({ parts: 20 }, () => sleep(5));
  const waiting = background.makeReceipt({} as ReceiptOrder);
  const dying = background.gatherResults(plan, 0);
  await expect(dying).rejects.toMatchObject({ name: 'ThreadDied' });
  await expect(waiting).rejects.toMatchObject({ name: 'ThreadDied' });
  const [, second] = await about();
  expect(Number(second)).toBeGreaterThan(Number(first));
  expect((await partitioning).taken).toBe(20);
});

it('names the script that is not there', async () => {
  const broken = new ThreadBackground(pathToFileURL(`${dir}/none/`), {});
  await expect(broken.verifyArtifacts([sha256('')])).rejects.toThrow('answering-thread.js');
  await broken.close();
});

it('closes over a thread that never answers, and refuses calls from then on', async () => {
  await about();
  const endless = background.sealPlan(plan);
  const rejected = expect(endless).rejects.toMatchObject({ name: 'ThreadDied' });
  await background.close();
  await rejected;
  await expect(about()).rejects.toMatchObject({ name: 'Closed' });
});
