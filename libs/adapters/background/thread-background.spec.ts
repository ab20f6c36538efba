import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { BackgroundError, type SegmentDraft, type StageSpec } from '#hxo';
import { sha256 } from '#truth';
import { ThreadBackground } from './thread-background.js';

/** A thread cannot run TypeScript: it serves what was compiled. */
const serve = resolve('dist/libs/adapters/background/serve.js');
const dir = mkdtempSync(join(tmpdir(), 'hxo-background-'));
const script = join(dir, 'script.mjs');
let background: ThreadBackground;

beforeAll(() => {
  if (!existsSync(serve)) throw new Error('Run `npm run build` first: this spec starts a thread from dist/.');
  writeFileSync(
    script,
    `import { workerData, threadId } from 'node:worker_threads';
     import { serveBackground } from ${JSON.stringify(pathToFileURL(serve).href)};
     let made = 0;
     serveBackground({
       async partition({ stage }, emit) {
         made = 0;
         for (let i = 0; i < stage.config.parts; i++) { made++; await emit([{ part: i }]); }
         if (stage.config.fail) throw new RangeError('no such folder');
         return { matched: made, taken: made, truncated: 0 };
       },
       verifyArtifacts: async () => ({ missing: [workerData.name, String(threadId), String(made)], corrupt: [] }),
       gatherResults: async () => process.exit(3),
       sealPlan: async () => { for (;;); },
     });`,
  );
});
beforeEach(() => (background = new ThreadBackground(pathToFileURL(script), { name: 'data' })));
afterEach(() => background.close());
afterAll(() => rmSync(dir, { recursive: true }));

const stage = (config: object): StageSpec => ({ config }) as StageSpec;
const plan = { plan_no: 1, revision: 1 };
/** What the thread was started with, its number, and the parts it made in its last partition. */
const about = async (): Promise<string[]> => (await background.verifyArtifacts([])).missing;

it('sends parts in order, each when the last was taken, then the result', async () => {
  const taken: unknown[] = [];
  let taking = 0;
  const summary = await background.partition(stage({ parts: 20 }), '1', async (segments) => {
    expect(++taking).toBe(1);
    await sleep(1);
    taking--;
    taken.push(...segments);
  });
  expect(summary).toEqual({ matched: 20, taken: 20, truncated: 0 });
  expect(taken).toEqual(Array.from({ length: 20 }, (_, part) => ({ part })));
});

it('passes on what the thread threw, by name', async () => {
  const failing = background.partition(stage({ parts: 1, fail: true }), '1', async () => {});
  await expect(failing).rejects.toBeInstanceOf(BackgroundError);
  await expect(failing).rejects.toMatchObject({ name: 'RangeError', message: 'no such folder' });
});

it('rejects with what the caller threw, and has the thread stop', async () => {
  const full = new Error('more than max_shards');
  const stopped = background.partition(
    stage({ parts: 1_000 }),
    '1',
    async ([segment]: readonly SegmentDraft[]) => {
      if ((segment as unknown as { part: number }).part === 4) throw full;
    },
  );
  await expect(stopped).rejects.toBe(full);
  await sleep(20);
  expect((await about())[2]).toBe('5');
});

it('serves calls side by side, with the data that it was given', async () => {
  const [one, two] = await Promise.all([
    background.partition(stage({ parts: 50 }), '1', () => sleep(1)),
    about(),
  ]);
  expect(one.taken).toBe(50);
  expect(two[0]).toBe('data');
});

it('rejects what was under way when the thread dies, and starts another at the next call', async () => {
  const [, first] = await about();
  const waiting = background.partition(stage({ parts: 1_000 }), '1', () => sleep(5));
  const dying = background.gatherResults(plan, 0);
  await expect(dying).rejects.toMatchObject({ name: 'ThreadDied' });
  await expect(waiting).rejects.toMatchObject({ name: 'ThreadDied' });
  const [, second] = await about();
  expect(Number(second)).toBeGreaterThan(Number(first));
});

it('names the script that is not there', async () => {
  const broken = new ThreadBackground(pathToFileURL(join(dir, 'none.mjs')), {});
  await expect(broken.verifyArtifacts([sha256('')])).rejects.toThrow('none.mjs');
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
