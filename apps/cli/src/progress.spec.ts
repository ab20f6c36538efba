import { PassThrough } from 'node:stream';
import type { StatusView } from '#hxo';
import { JsonDisplay, progressDisplay, type ProgressStream } from './progress.js';

function screen(isTTY: boolean): { stream: ProgressStream; text: () => string } {
  const stream = Object.assign(new PassThrough(), { isTTY, columns: 120 });
  const written: string[] = [];
  stream.on('data', (chunk: Buffer) => written.push(chunk.toString()));
  return { stream, text: () => written.join('') };
}

function status(changed: Partial<StatusView>): StatusView {
  return {
    plan_id: 'p',
    plan_name: 'n',
    phase: 'running',
    revision: 1,
    total_shards: 100,
    total_final: true,
    pending_shards: 100,
    claimed_shards: 0,
    running_shards: 0,
    done_shards: 0,
    failed_shards: 0,
    reused_shards: 0,
    skipped_shards: 0,
    retrying_shards: 0,
    merkle_root: null,
    truth_certified: false,
    submitted_at: '2025-10-11T20:00:00Z',
    started_at: null,
    finished_at: null,
    eta_seconds: null,
    waiting_for: null,
    error: null,
    stages: [],
    ...changed,
  };
}

const finished = { phase: 'succeeded', done_shards: 100, finished_at: '2025-10-11T20:00:09Z' } as const;

describe('on a terminal', () => {
  it('is a bar with shards, rate, ETA and phase, and leaves the cursor visible', () => {
    const { stream, text } = screen(true);
    let clock_ms = 0;
    const display = progressDisplay(stream, () => clock_ms);
    display.show(status({ phase: 'partitioning', total_shards: 0, total_final: false }));
    expect(text()).toContain('░░░ 0% | 0/0+ shards | ETA ? | partitioning');
    clock_ms = 2000;
    display.show(status({ done_shards: 50, failed_shards: 1 }));
    display.end();
    expect(text()).toContain('█░');
    expect(text()).toContain('51% | 51/100 shards, 1 failed | 26/s | ETA 2 s | running');
    expect(text().lastIndexOf('\u001b[?25h')).toBeGreaterThan(text().lastIndexOf('\u001b[?25l'));
  });

  it('is full at the end, of a plan without shards too', () => {
    for (const total_shards of [100, 0]) {
      const { stream, text } = screen(true);
      const display = progressDisplay(stream);
      display.show(status({ ...finished, total_shards, done_shards: total_shards }));
      display.end();
      expect(text()).toContain(` 100% | ${total_shards}/${total_shards} shards | succeeded`);
    }
  });
});

describe('elsewhere', () => {
  it('is a plain line when the phase changes and every three seconds', () => {
    const { stream, text } = screen(false);
    let clock_ms = 1_000_000;
    const display = progressDisplay(stream, () => clock_ms);
    for (let done = 0; done <= 40; done += 4, clock_ms += 500) {
      display.show(status({ done_shards: done, eta_seconds: 3700 }));
    }
    display.show(status({ ...finished, reused_shards: 7 }));
    display.end();
    expect(text().split('\n')).toEqual([
      '0/100 shards | ETA 1 h 1 min | running',
      '24/100 shards | 8.0/s | ETA 1 h 1 min | running',
      '100/100 shards, 7 reused | 18/s | succeeded',
      '',
    ]);
  });

  it('counts one shard as one', () => {
    const { stream, text } = screen(false);
    progressDisplay(stream).show(status({ total_shards: 1 }));
    expect(text()).toMatch(/^0\/1 shard \|/);
  });

  it('says what a plan waits for, and repeats nothing', () => {
    const { stream, text } = screen(false);
    let clock_ms = 0;
    const display = progressDisplay(stream, () => clock_ms);
    for (; clock_ms < 30_000; clock_ms += 5_000) {
      display.show(status({ total_shards: 0, waiting_for: 'disk space', eta_seconds: 75 }));
    }
    expect(text()).toBe(
      '0/0 shards | ETA 1 min 15 s | running | waiting for disk space\n' +
        '0/0 shards | 0.0/s | ETA 1 min 15 s | running | waiting for disk space\n',
    );
  });

  it('is one status a line for machines, without repetitions', () => {
    const { stream, text } = screen(false);
    const display = new JsonDisplay(stream);
    display.show(status({}));
    display.show(status({}));
    display.show(status(finished));
    expect(
      text()
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as StatusView),
    ).toEqual([status({}), status(finished)]);
  });
});
