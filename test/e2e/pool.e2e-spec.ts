import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { createThreadTransport, type ThreadTransportOptions } from '#adapters/threads';
import {
  parseOutcomes,
  type Bundle,
  type LeaseRef,
  type Outcome,
  type OutcomeBatch,
  type Transport,
  type TransportSink,
} from '#hxo/execute';

/** The embedded transport with real threads and processes, which run from dist. */

const fixture = (name: string) => pathToFileURL(join('test/fixtures/executors', name));
const member = pathToFileURL('dist/apps/worker/src/pool-member.js');

type Isolation = 'thread' | 'process';
const isolations: Isolation[] = ['thread', 'process'];

class RecordingSink implements TransportSink {
  changed(): void {}

  readonly batches: OutcomeBatch[] = [];
  readonly losses: (LeaseRef & { reason: string })[] = [];
  readonly refusals: (LeaseRef & { reason: string })[] = [];
  readonly begun: number[] = [];
  most_at_once = 0;
  commit: (bundle: number) => Promise<void> = async () => undefined;

  started({ bundle }: LeaseRef): void {
    this.begun.push(bundle);
    this.most_at_once = Math.max(this.most_at_once, this.begun.filter((each) => !this.over(each)).length);
  }
  heartbeat(): void {}
  async outcomes(batch: OutcomeBatch): Promise<void> {
    this.batches.push(batch);
    await this.commit(batch.bundle);
  }
  refused(lease: LeaseRef & { reason: string }): void {
    this.refusals.push(lease);
  }
  lost(lease: LeaseRef & { reason: string }): void {
    this.losses.push(lease);
  }

  of(bundle: number): Outcome[] {
    return this.batches
      .filter((batch) => batch.bundle === bundle)
      .flatMap((batch) => parseOutcomes(batch.outcomes));
  }
  /** Each outcome of a bundle in a word, by ordinal; and how the bundle ended. */
  story(bundle: number): string {
    const words = this.of(bundle).map(
      (o) => `${o.ordinal} ${o.status === 'done' ? 'done' : `${o.verdict} ${o.code}`}`,
    );
    const loss = this.losses.find((each) => each.bundle === bundle);
    const refusal = this.refusals.find((each) => each.bundle === bundle);
    const end = refusal ? `refused: ${refusal.reason}` : 'final';
    return [...words, loss ? `lost: ${loss.reason}` : end].join(', ');
  }
  over(bundle: number): boolean {
    return (
      this.batches.some((b) => b.bundle === bundle && b.final) || this.losses.some((l) => l.bundle === bundle)
    );
  }
}

async function until(condition: () => boolean, limit_ms = 10_000): Promise<void> {
  const end = performance.now() + limit_ms;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`Not within ${limit_ms} ms: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Children of a process, by their parent in /proc; zombies count. */
function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent;
      } catch {
        return false;
      }
    });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

const threads = () => readdirSync('/proc/self/task').length;

describe('The pool of threads and processes', () => {
  let dir: string;
  let sink: RecordingSink;
  let transport: Transport;
  let logged: string[];
  let threads_before: number;
  let bundle_no = 0;

  async function begin(options: Partial<ThreadTransportOptions> = {}): Promise<void> {
    transport = createThreadTransport({
      member,
      member_options: {
        artifacts_dir: join(dir, 'artifacts'),
        workspace: { root: dir, forbidden: [] },
        extra_executors: [fixture('probe.mjs').href],
        cache: { dir: join(dir, 'cache') },
        allowed_hosts: [],
      },
      lanes: 64,
      workers: 2,
      env: process.env,
      log: (message) => logged.push(message),
      ...options,
    });
    await transport.start(sink);
  }

  /** Dispatches a bundle whose shards do what they are told; answers its number. */
  async function dispatch(
    isolation: Isolation,
    actions: object[],
    more: Partial<Bundle> = {},
  ): Promise<number> {
    const bundle: Bundle = {
      plan_id: 'plan',
      bundle: ++bundle_no,
      attempt: 1,
      stage: 's',
      executor: `probe_${isolation}`,
      executor_version: '1',
      reads_files: true,
      isolation,
      concurrency: 1,
      shard_timeout_ms: 500,
      work: {
        type: 'shards',
        ordinals: actions.map((_, ordinal) => ordinal),
        lines: actions.map((action) => `1\t\t${JSON.stringify(action)}\n`).join(''),
      },
      ...more,
    };
    await transport.dispatch(bundle);
    return bundle.bundle;
  }

  async function run(isolation: Isolation, actions: object[], more: Partial<Bundle> = {}): Promise<string> {
    const bundle = await dispatch(isolation, actions, more);
    await until(() => sink.over(bundle));
    return sink.story(bundle);
  }

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'hxo-pool-'));
    sink = new RecordingSink();
    logged = [];
    threads_before = threads();
  });

  afterEach(async () => {
    await transport.stop(0);
    expect(childrenOf(process.pid)).toEqual([]);
    await until(() => threads() <= threads_before);
    rmSync(dir, { recursive: true });
  });

  it.each(isolations)('runs 10,000 tiny shards, each once (%s)', async (isolation) => {
    await begin();
    const bundles: number[] = [];
    for (let i = 0; i < 40; i++)
      bundles.push(await dispatch(isolation, new Array(250).fill({ do: 'noop' }) as object[]));
    await until(() => bundles.every((bundle) => sink.over(bundle)));
    for (const bundle of bundles) {
      expect(sink.of(bundle).map((o) => `${o.ordinal} ${o.status}`)).toEqual(
        Array.from({ length: 250 }, (_, ordinal) => `${ordinal} done`),
      );
    }
    expect(sink.losses).toEqual([]);
    expect(sink.begun.sort((a, b) => a - b)).toEqual(bundles);
  });

  it.each<[Isolation, string]>([
    ['thread', 'loop'],
    ['thread', 'never'],
    ['process', 'loop'],
    ['process', 'never'],
    ['process', 'native'],
  ])(
    'in a %s, ends a shard that does "%s" at its limit, and delivers what was finished',
    async (isolation, what) => {
      await begin();
      await run(isolation, [{ do: 'noop' }]);
      const begun_at = performance.now();
      const actions = [{ do: 'spin', ms: 30 }, { do: 'spin', ms: 30 }, { do: what }, { do: 'noop' }];
      expect(await run(isolation, actions)).toBe('0 done, 1 done, 2 retry SHARD_TIMEOUT, final');
      expect(performance.now() - begun_at).toBeLessThan(2_000);
      expect(await run(isolation, [{ do: 'noop' }])).toBe('0 done, final');
    },
  );

  it.each(isolations)(
    'lets a shard that minds its signal end by itself, and goes on (%s)',
    async (isolation) => {
      await begin({ workers: 1 });
      const bundle = await dispatch(isolation, [{ do: 'noop' }, { do: 'polite' }, { do: 'noop' }]);
      await until(() => sink.over(bundle));
      expect(sink.story(bundle)).toBe('0 done, 1 retry SHARD_TIMEOUT, 2 done, final');
    },
  );

  it.each(isolations)('takes an error for an outcome (%s)', async (isolation) => {
    await begin();
    const story = await run(isolation, [{ do: 'throw' }, { do: 'rubbish' }, { do: 'noop' }]);
    expect(story).toBe('0 retry EXECUTOR_ERROR, 1 done, 2 done, final');
  });

  it.each<[Isolation, string, RegExp]>([
    ['thread', 'exit', /^0 done, lost: thread-1: thread exited with code 3 while it ran shard 1$/],
    ['process', 'exit', /^0 done, lost: process-1: process exited with code 3 while it ran shard 1$/],
    ['thread', 'crash', /thrown outside of any promise while it ran shard 1$/],
    [
      'process',
      'crash',
      /^0 done, lost: process-1: process exited with code 1: Error: thrown outside of any promise while it ran shard 1$/,
    ],
    ['thread', 'memory', /memory.* while it ran shard 1$/],
  ])('loses only the bundle whose %s dies by "%s", and names the shard', async (isolation, what, story) => {
    await begin({ max_old_space_mb: 64 });
    const other = await dispatch('thread', [{ do: 'wait', ms: 300 }]);
    const bundle = await dispatch(isolation, [{ do: 'spin', ms: 30 }, { do: what }], { shard_timeout_ms: 0 });
    await until(() => sink.over(bundle) && sink.over(other));
    expect(sink.story(bundle).replace('thread-2', 'thread-1')).toMatch(story);
    expect(sink.story(other)).toBe('0 done, final');
    expect(await run(isolation, [{ do: 'noop' }])).toBe('0 done, final');
  });

  it('waits longer after each crash in a row', async () => {
    await begin({ workers: 1 });
    const begun_at = performance.now();
    for (let i = 0; i < 4; i++) await run('thread', [{ do: 'exit' }]);
    expect(await run('thread', [{ do: 'noop' }])).toBe('0 done, final');
    expect(performance.now() - begun_at).toBeGreaterThan(100 + 200 + 400);
  });

  it('says why members cannot start', async () => {
    await begin({
      member_options: {
        artifacts_dir: join(dir, 'artifacts'),
        workspace: { root: join(dir, 'absent'), forbidden: [] },
        extra_executors: [],
        cache: { dir: join(dir, 'cache') },
        allowed_hosts: [],
      },
    });
    for (const isolation of isolations) {
      expect(await run(isolation, [{ do: 'noop' }])).toMatch(
        /^lost: (thread|process)-1 could not start: .*absent/,
      );
    }
  });

  it.each(isolations)(
    'replaces a %s that a shard halts; what is left of the bundle comes free',
    async (isolation) => {
      await begin({ workers: 1 });
      expect(await run(isolation, [{ do: 'noop' }, { do: 'halt' }, { do: 'noop' }])).toBe(
        '0 done, 1 halt BROKEN_INSTALL, final',
      );
      expect(await run(isolation, [{ do: 'noop' }])).toBe('0 done, final');
    },
  );

  it('cancels a plan: polite shards at once, others after a second, queued bundles without a start', async () => {
    await begin();
    const unlimited = { shard_timeout_ms: 0 };
    const polite = await dispatch('thread', [{ do: 'polite' }], unlimited);
    const stubborn = await dispatch('process', [{ do: 'native' }], unlimited);
    const queued = await dispatch('thread', [{ do: 'noop' }], unlimited);
    const other = await dispatch('thread', [{ do: 'noop' }], { plan_id: 'other' });
    await until(() => sink.begun.length === 2);
    const cancelled_at = performance.now();
    await transport.cancel('plan', []);
    await until(() => sink.over(polite) && sink.over(other));
    expect(performance.now() - cancelled_at).toBeLessThan(900);
    await until(() => sink.over(stubborn));
    expect(performance.now() - cancelled_at).toBeLessThan(2_000);
    expect([polite, stubborn, queued, other].map((bundle) => sink.story(bundle))).toEqual([
      'final',
      'lost: aborted',
      'refused: aborted',
      '0 done, final',
    ]);
  });

  it('on stop drops what is queued, delivers what ends within the grace, and ends the rest', async () => {
    await begin();
    const short = await dispatch('process', [{ do: 'wait', ms: 300 }], { shard_timeout_ms: 0 });
    const endless = await dispatch('thread', [{ do: 'loop' }], { shard_timeout_ms: 0 });
    const queued = await dispatch('thread', [{ do: 'noop' }]);
    await until(() => sink.begun.length === 2);
    const stopped_at = performance.now();
    const stopped = transport.stop(1_000);
    await expect(dispatch('thread', [{ do: 'noop' }])).rejects.toThrow('stopped');
    await stopped;
    expect(performance.now() - stopped_at).toBeLessThan(2_000);
    expect([short, endless, queued].map((bundle) => sink.story(bundle))).toEqual([
      '0 done, final',
      'lost: stopping',
      'refused: the worker is stopping',
    ]);
  });

  it('stops at once when all that runs has ended', async () => {
    await begin();
    await dispatch('thread', [{ do: 'wait', ms: 200 }]);
    await until(() => sink.begun.length === 1);
    const stopped_at = performance.now();
    await transport.stop(10_000);
    expect(performance.now() - stopped_at).toBeLessThan(1_000);
  });

  it('runs no more bundles at once than there are workers, in threads and processes together', async () => {
    await begin({ workers: 2 });
    for (const isolation of ['thread', 'process', 'thread', 'process'] as const) {
      await dispatch(isolation, [{ do: 'wait', ms: 400 }]);
    }
    await until(() => sink.batches.filter((batch) => batch.final).length === 4);
    expect(sink.most_at_once).toBe(2);
  });

  it('starts no fifth bundle of a worker before the first is committed', async () => {
    const commits: { bundle: number; resolve: () => void }[] = [];
    sink.commit = (bundle) => new Promise((resolve) => commits.push({ bundle, resolve }));
    await begin({ workers: 1 });
    for (let i = 0; i < 6; i++) await dispatch('thread', [{ do: 'noop' }]);
    await until(() => sink.begun.length === 4);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(sink.begun).toHaveLength(4);
    for (const { bundle, resolve } of commits) if (bundle === sink.begun[0]) resolve();
    await until(() => sink.begun.length === 5);
    sink.commit = async () => undefined;
    for (const { resolve } of commits) resolve();
    await until(() => sink.batches.filter((batch) => batch.final).length === 6);
  });

  it('runs shards of a bundle at the same time when it says so, and ends only those past their limit', async () => {
    await begin({ workers: 1 });
    const bundle = await dispatch(
      'process',
      [{ do: 'never' }, { do: 'wait', ms: 100 }, { do: 'wait', ms: 100 }],
      {
        concurrency: 2,
      },
    );
    await until(() => sink.over(bundle));
    expect(sink.story(bundle)).toBe('1 done, 2 done, 0 retry SHARD_TIMEOUT, final');
  });

  it('ends members that have nothing to do', async () => {
    await begin({ idle_ms: 200 });
    await run('process', [{ do: 'noop' }]);
    expect(childrenOf(process.pid)).toHaveLength(1);
    await until(() => childrenOf(process.pid).length === 0);
    expect(await run('process', [{ do: 'noop' }])).toBe('0 done, final');
    expect(logged).toEqual([]);
  });

  it('keeps a member ready that it is told to, from its start on and without work', async () => {
    await begin({ idle_ms: 100, ready: ['process'] });
    const kept = childrenOf(process.pid);
    expect(kept).toHaveLength(1);
    expect(await run('process', [{ do: 'noop' }])).toBe('0 done, final');
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(childrenOf(process.pid)).toEqual(kept);
  });

  it('starts all the same when a member that is to be ready cannot', async () => {
    await begin({ ready: ['process'], member: fixture('not-there.mjs') });
    await until(() => childrenOf(process.pid).length === 0);
    // Nor is it tried again and again.
    await sleep(300);
    expect(childrenOf(process.pid)).toEqual([]);
  });

  it('gives bundles that would only wait for each other to one member', async () => {
    await begin({ ready: ['process'] });
    const kept = childrenOf(process.pid);
    const more = { one_by_one: true };
    await run('process', [{ do: 'noop' }], more);
    const bundles: number[] = [];
    for (let i = 0; i < 3; i++) bundles.push(await dispatch('process', [{ do: 'wait', ms: 20 }], more));
    expect(childrenOf(process.pid)).toEqual(kept);
    await until(() => bundles.every((bundle) => sink.over(bundle)));
    expect(childrenOf(process.pid)).toEqual(kept);
  });

  it.each(isolations)(
    'shows a %s no secret of the environment, and hands on what executors log',
    async (isolation) => {
      await begin({
        env: { PATH: process.env['PATH'], HXO_ADMIRAL_TOKEN: 'secret', HXO_TARGET_DEFAULT_URL: 'sqlite:x' },
      });
      const bundle = await dispatch(isolation, [
        { do: 'log', env: 'HXO_ADMIRAL_TOKEN' },
        { do: 'noop', env: 'HXO_TARGET_DEFAULT_URL' },
      ]);
      await until(() => sink.over(bundle));
      const values = sink
        .of(bundle)
        .map((o) => (o.status === 'done' ? (JSON.parse(o.value) as { env: unknown }).env : o));
      expect(values).toEqual([null, 'sqlite:x']);
      expect(logged).toEqual([`${isolation}-1: hello`]);
    },
  );

  it.each(['never', 'loop', 'native'])(
    'leaves no process behind when its program is killed during "%s"',
    async (what) => {
      await begin();
      const script = join('test/fixtures/executors', 'pool-owner.mjs');
      const owner = spawn(process.execPath, [script, dir, what], { stdio: ['ignore', 'pipe', 'inherit'] });
      await once(owner.stdout, 'data');
      const [child] = childrenOf(owner.pid!);
      expect(child).toBeDefined();
      await new Promise((resolve) => setTimeout(resolve, 500));
      owner.kill('SIGKILL');
      await once(owner, 'close');
      await until(() => !isAlive(child!), 5_000);
    },
  );
});
