import { Readable } from 'node:stream';
import fc from 'fast-check';
import { canonicalJson, sha256, type Digest, type Json } from '#truth';
import type { ArtifactStore } from './artifact-store.js';
import type { Cache } from './cache.js';
import { FailShard, HaltWorker, RetryShard, type Executor, type ExecutorContext } from './contract.js';
import type { HttpClient } from './http-client.js';
import { registerExecutors, runBundle, type BundleHost } from './run-bundle.js';
import type { Bundle, Outcome } from './transport.js';
import type { Workspace } from './workspace.js';

type Run = (inputs: Json, context: ExecutorContext) => Promise<unknown>;

function executorOf(run: Run, more: Partial<Executor> = {}): Executor {
  return {
    name: 'probe',
    version: '1',
    kinds: ['test'],
    cacheable: true,
    deterministic: true,
    load: 'cpu',
    isolation: 'thread',
    parse: (inputs) => inputs,
    run: async (shard, context) => (await run(shard.inputs as Json, context)) as { value: Json },
    ...more,
  };
}

function bundleOf(inputs: readonly Json[], more: Partial<Bundle> = {}): Bundle {
  return {
    plan_id: 'p',
    bundle: 1,
    attempt: 3,
    stage: 's',
    executor: 'probe',
    executor_version: '1',
    reads_files: true,
    isolation: 'thread',
    concurrency: 1,
    shard_timeout_ms: 0,
    work: {
      type: 'shards',
      ordinals: inputs.map((_, i) => 100 + i),
      lines: inputs.map((value) => `1\t\t${JSON.stringify(value)}\n`).join(''),
    },
    ...more,
  };
}

class RecordingHost implements BundleHost {
  readonly executors;
  readonly artifacts = new MemoryArtifacts() as unknown as ArtifactStore;
  readonly workspace = {} as Workspace;
  readonly cache = {} as Cache;
  readonly http = {} as HttpClient;
  readonly controller = new AbortController();
  readonly signal = this.controller.signal;
  readonly batches: { outcomes: readonly Outcome[]; final: boolean }[] = [];
  readonly steps: [index: number, lane: number][] = [];
  readonly logged: string[] = [];

  constructor(...executors: Executor[]) {
    this.executors = registerExecutors(executors);
  }
  get outcomes(): Outcome[] {
    return this.batches.flatMap((batch) => [...batch.outcomes]);
  }
  report(outcomes: readonly Outcome[], final: boolean): void {
    this.batches.push({ outcomes, final });
  }
  progress(index: number, lane: number): void {
    this.steps.push([index, lane]);
  }
  log(message: string): void {
    this.logged.push(message);
  }
  now(): number {
    return performance.now();
  }
}

class MemoryArtifacts {
  readonly blobs = new Map<string, Buffer>();
  async open(digest: Digest): Promise<Readable> {
    const bytes = this.blobs.get(digest) ?? Buffer.alloc(0);
    // Three bytes at a time: lines and characters are cut anywhere.
    return Readable.from(
      Array.from({ length: Math.ceil(bytes.length / 3) }, (_, i) => bytes.subarray(i * 3, i * 3 + 3)),
    );
  }
}

function byOrdinal(outcomes: readonly Outcome[]): Outcome[] {
  return [...outcomes].sort((a, b) => a.ordinal - b.ordinal);
}

const wait = (ms: number, signal?: AbortSignal) =>
  new Promise<void>((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    });
  });

describe('runBundle', () => {
  it('reports each shard once, in order, and exactly one final batch, for any bundle and concurrency', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(600), fc.integer({ min: 0, max: 9 }), async (count, concurrency) => {
        const host = new RecordingHost(executorOf(async (value) => ({ value })));
        await runBundle(
          bundleOf(
            Array.from({ length: count }, (_, i) => i),
            { concurrency },
          ),
          host,
        );
        expect(host.batches.map((batch) => batch.final)).toEqual([
          ...new Array<boolean>(host.batches.length - 1).fill(false),
          true,
        ]);
        expect(host.batches.every((batch) => batch.outcomes.length <= 1_024 + concurrency)).toBe(true);
        expect(byOrdinal(host.outcomes).map((outcome) => outcome.ordinal)).toEqual(
          Array.from({ length: count }, (_, i) => 100 + i),
        );
        expect(host.steps.filter(([index]) => index >= 0).map(([index]) => index)).toEqual(
          Array.from({ length: count }, (_, i) => i),
        );
      }),
      { numRuns: 40 },
    );
  });

  it('gives the digest of the canonical value, or the one that the executor declares', async () => {
    const declared = sha256('content');
    const host = new RecordingHost(
      executorOf(async (value) =>
        value === 0
          ? { value: { b: 1, a: [true] } }
          : { value: null, digest: declared, artifacts: [{ digest: declared, bytes: 7, extra: 'x' }] },
      ),
    );
    await runBundle(bundleOf([0, 1]), host);
    expect(host.outcomes).toMatchObject([
      {
        ordinal: 100,
        status: 'done',
        value: '{"a":[true],"b":1}',
        digest: null,
      },
      { ordinal: 101, status: 'done', value: 'null', digest: declared },
    ]);
    expect((host.outcomes[1] as { artifacts: unknown }).artifacts).toEqual([{ digest: declared, bytes: 7 }]);
  });

  it.each<[string, () => unknown, object]>([
    [
      'RetryShard',
      () => new RetryShard('BUSY', 'later'),
      { verdict: 'retry', code: 'BUSY', message: 'later' },
    ],
    ['FailShard', () => new FailShard('BAD', 'never'), { verdict: 'fail', code: 'BAD' }],
    [
      'another copy of FailShard',
      () => ({ verdict: 'fail', code: 'BAD', message: 'm' }),
      { verdict: 'fail', code: 'BAD' },
    ],
    ['any error', () => new TypeError('oops'), { verdict: 'retry', code: 'EXECUTOR_ERROR', message: 'oops' }],
    ['a long message', () => new Error('x'.repeat(5_000)), { message: 'x'.repeat(1_000) }],
    [
      'a system error',
      () => Object.assign(new Error('m'), { code: 'ENOENT', syscall: 'open' }),
      { verdict: 'retry', code: 'ENOENT' },
    ],
    [
      'a full disk',
      () => Object.assign(new Error('m'), { code: 'ENOSPC', syscall: 'write' }),
      { verdict: 'halt', code: 'ENOSPC' },
    ],
    [
      'a text',
      () => 'boom',
      { verdict: 'retry', code: 'EXECUTOR_ERROR', message: 'The executor threw "boom".' },
    ],
    ['nothing', () => undefined, { verdict: 'retry', code: 'EXECUTOR_ERROR' }],
  ])('maps %s thrown by an executor', async (_, error, expected) => {
    const reason = error() as Error;
    const host = new RecordingHost(executorOf(() => Promise.reject(reason)));
    await runBundle(bundleOf([0]), host);
    expect(host.outcomes).toMatchObject([{ status: 'failed', ordinal: 100, ...expected }]);
    expect(canonicalJson(host.outcomes)).not.toContain('run-bundle.spec');
  });

  it.each<[string, unknown]>([
    ['no object', 7],
    ['no value', {}],
    ['a value that is no JSON', { value: Number.NaN }],
    ['a value over 64 KiB', { value: 'é'.repeat(33_000) }],
    ['a digest that is none', { value: 1, digest: 'ABC' }],
    ['an artifact without length', { value: 1, artifacts: [{ digest: sha256('') }] }],
  ])('fails a shard whose output has %s', async (_, output) => {
    const host = new RecordingHost(executorOf(async () => output));
    await runBundle(bundleOf([0]), host);
    expect(host.outcomes).toMatchObject([{ status: 'failed', verdict: 'fail', code: 'INVALID_OUTPUT' }]);
  });

  it('takes a value of exactly 64 KiB', async () => {
    const host = new RecordingHost(executorOf(async () => ({ value: 'x'.repeat(64 * 1024 - 2) })));
    await runBundle(bundleOf([0]), host);
    expect(host.outcomes).toMatchObject([{ status: 'done' }]);
  });

  it.each([{ executor_version: '2' }, { executor: 'absent' }])(
    'fails every shard for retry on %o',
    async (more) => {
      const host = new RecordingHost(executorOf(async (value) => ({ value })));
      await runBundle(bundleOf([1, 2], more), host);
      expect(host.outcomes).toMatchObject([
        { ordinal: 100, status: 'failed', verdict: 'retry', code: 'EXECUTOR_MISMATCH' },
        { ordinal: 101, code: 'EXECUTOR_MISMATCH' },
      ]);
    },
  );

  it.each([
    ['damaged', 'no fields\n1\t\t1\n'],
    ['too few', '1\t\t0\n'],
    ['cut off', '1\t\t0\n1\t\t1'],
    ['too many', '1\t\t0\n'.repeat(3)],
  ])('fails every shard when lines are %s', async (_, lines) => {
    const host = new RecordingHost(executorOf(async (value) => ({ value })));
    await runBundle(bundleOf([], { work: { type: 'shards', ordinals: [7, 8], lines } }), host);
    const failure = { status: 'failed', verdict: 'fail', code: 'SHARDS_UNREADABLE' };
    expect(host.outcomes).toMatchObject([
      { ordinal: 7, ...failure, message: expect.stringContaining('checkpoint store') as string },
      { ordinal: 8, ...failure },
    ]);
    expect(host.batches).toHaveLength(1);
    expect(host.batches[0]!.final).toBe(true);
  });

  it('reports shards of many lanes together, however slow they are, and lanes that end with the others', async () => {
    const host = new RecordingHost(
      executorOf(async (value) => {
        await wait(value as number);
        return { value };
      }),
    );
    const inputs = Array.from({ length: 200 }, (_, i) => 2 + (i % 7) / 2);
    const began = performance.now();
    await runBundle(bundleOf([...inputs, 60], { concurrency: 40 }), host);
    const elapsed_ms = performance.now() - began;
    expect(host.outcomes).toHaveLength(201);
    // One in 25 ms, and the final one.
    expect(host.batches.length).toBeLessThanOrEqual(elapsed_ms / 24 + 2);
    // Lanes that have nothing more to do do not wait for the one that has.
    expect(host.batches.at(-1)!.outcomes.length).toBeLessThanOrEqual(1);
  });

  it('reports before the next shard begins once 25 ms have passed, the last one with the final report', async () => {
    const host = new RecordingHost(
      executorOf(async (value) => {
        await wait(30);
        return { value };
      }),
    );
    await runBundle(bundleOf([0, 1, 2]), host);
    expect(host.batches.map(({ outcomes, final }) => [outcomes.length, final])).toEqual([
      [1, false],
      [1, false],
      [1, true],
    ]);
  });

  it('reports shards of which others would only wait for each other 100 ms apart', async () => {
    const host = new RecordingHost(
      executorOf(async (value) => {
        await wait(30);
        return { value };
      }),
    );
    const began = performance.now();
    await runBundle(bundleOf([0, 1, 2, 3, 4, 5, 6], { one_by_one: true }), host);
    expect(host.outcomes).toHaveLength(7);
    expect(host.batches.length).toBeLessThanOrEqual((performance.now() - began) / 99 + 1);
  });

  it('stops after a shard that halts the worker; the rest comes free', async () => {
    const host = new RecordingHost(
      executorOf(async (value) => (value === 1 ? Promise.reject(new HaltWorker('DISK', 'gone')) : { value })),
    );
    await runBundle(bundleOf([0, 1, 2, 3]), host);
    expect(host.outcomes.map((outcome) => outcome.ordinal)).toEqual([100, 101]);
    expect(host.batches.at(-1)).toMatchObject({ final: true });
  });

  it('aborts a shard at its limit, and no other', async () => {
    const host = new RecordingHost(
      executorOf(async (value, { signal }) => {
        await wait(value as number, signal);
        return { value };
      }),
    );
    await runBundle(bundleOf([30, 5_000, 30, 5_000, 0], { shard_timeout_ms: 60, concurrency: 2 }), host);
    expect(
      byOrdinal(host.outcomes).map((o) => (o.status === 'done' ? 'done' : `${o.verdict} ${o.code}`)),
    ).toEqual(['done', 'retry SHARD_TIMEOUT', 'done', 'retry SHARD_TIMEOUT', 'done']);
    expect(host.outcomes.find((o) => o.status === 'failed')).toMatchObject({
      message: expect.stringContaining('60 ms') as string,
    });
  });

  it('names a collector past its limit as such', async () => {
    const host = new RecordingHost(
      executorOf(async () => null, {
        collect: async (_, { signal }) => {
          await wait(5_000, signal);
          throw new Error('It was not aborted.');
        },
      }),
    );
    const work: Bundle['work'] = { type: 'collect', results: sha256('') };
    await runBundle({ ...bundleOf([]), shard_timeout_ms: 30, work }, host);
    expect(host.outcomes).toMatchObject([
      {
        code: 'COLLECT_TIMEOUT',
        message: expect.stringMatching(
          /^The collector ran past its limit of 30 ms\. Raise the stage's/,
        ) as string,
      },
    ]);
  });

  it('counts a shard that ends by itself after its limit as timed out, its signal read late or never', async () => {
    let late: AbortSignal | undefined;
    const host = new RecordingHost(
      executorOf(async (value, context) => {
        await wait(60);
        late = context.signal;
        return { value };
      }),
    );
    await runBundle(bundleOf([0], { shard_timeout_ms: 20 }), host);
    expect(host.outcomes).toMatchObject([{ status: 'failed', code: 'SHARD_TIMEOUT' }]);
    expect(late?.aborted).toBe(true);
  });

  it('delivers what is finished before a shard that hangs', async () => {
    const host = new RecordingHost(
      executorOf(async (value) => {
        await (value === 'hang' ? new Promise(() => undefined) : wait(3));
        return { value };
      }),
    );
    void runBundle(bundleOf([1, 2, 'hang', 3]), host);
    await wait(60);
    expect(host.outcomes.map((outcome) => outcome.ordinal)).toEqual([100, 101]);
    expect(host.steps.at(-1)).toEqual([2, 0]);
  });

  it('on abort tells what runs, starts nothing, and leaves aborted shards without an outcome', async () => {
    const host = new RecordingHost(
      executorOf(async (value, { signal }) => {
        await wait(value as number, signal);
        return { value };
      }),
    );
    const running = runBundle(bundleOf([1, 5_000, 1]), host);
    await wait(40);
    host.controller.abort();
    await running;
    expect(host.outcomes.map((outcome) => outcome.ordinal)).toEqual([100]);
    expect(host.batches.at(-1)?.final).toBe(true);
  });

  it('gives attempt, ordinal and log to the executor', async () => {
    const host = new RecordingHost(
      executorOf(async () => null, {
        run: async ({ ordinal, attempt }, context) => {
          context.log(`shard ${ordinal}`);
          return { value: attempt };
        },
      }),
    );
    await runBundle(bundleOf([0]), host);
    expect(host.outcomes).toMatchObject([{ value: '3' }]);
    expect(host.logged).toEqual(['shard 100']);
  });

  describe('of a collect', () => {
    const shards = ['a', 'ü\u2028', 'c'].map((value, ordinal) => ({
      ordinal,
      inputs: null,
      input_digests: [],
      digest: sha256(value),
      value,
    }));
    const lines = Buffer.from(shards.map((shard) => JSON.stringify(shard)).join('\n') + '\n');
    const collector = executorOf(async () => null, {
      collect: async (results) => {
        const seen: Json[] = [];
        for await (const shard of results) seen.push(shard.value);
        const digest = sha256('output');
        return { digest, value: seen, artifacts: [{ name: 'index.json', digest, bytes: 6 }] };
      },
    });

    it('streams the results and reports the stage output as ordinal 0', async () => {
      const host = new RecordingHost(collector);
      (host.artifacts as unknown as MemoryArtifacts).blobs.set(sha256(lines), lines);
      await runBundle(bundleOf([], { work: { type: 'collect', results: sha256(lines) } }), host);
      const digest = sha256('output');
      expect(host.outcomes).toMatchObject([
        {
          ordinal: 0,
          status: 'done',
          digest,
          value: canonicalJson({
            digest,
            value: ['a', 'ü\u2028', 'c'],
            artifacts: [{ name: 'index.json', digest, bytes: 6 }],
          }),
          artifacts: [{ digest, bytes: 6 }],
        },
      ]);
    });

    it('fails for retry when the results are not what their name promises', async () => {
      const host = new RecordingHost(collector);
      (host.artifacts as unknown as MemoryArtifacts).blobs.set(sha256('x'), lines);
      await runBundle(bundleOf([], { work: { type: 'collect', results: sha256('x') } }), host);
      expect(host.outcomes).toMatchObject([{ ordinal: 0, verdict: 'retry', code: 'ARTIFACT_CORRUPT' }]);
    });
  });
});

describe('registerExecutors', () => {
  it('refuses two of one name', () => {
    const executor = executorOf(async () => null);
    expect(() => registerExecutors([executor, { ...executor, version: '2' }])).toThrow('"probe"');
  });
});
