import { jest } from '@jest/globals';
import { RetryQueue } from './retry-queue.js';

const late_max_ms = 100;

describe('RetryQueue', () => {
  beforeEach(() => jest.useFakeTimers());
  afterEach(() => jest.useRealTimers());

  /** A queue on the fake clock, with the moments at which its work came due. */
  function recording(): { queue: RetryQueue; rung: Map<number, number>; wait: (delay_ms: number) => void } {
    const queue = new RetryQueue(() => performance.now());
    const rung = new Map<number, number>();
    const wait = (delay_ms: number): void => {
      const due = performance.now() + delay_ms;
      queue.after(delay_ms, () => rung.set(due, performance.now()));
    };
    return { queue, rung, wait };
  }

  it('rings each once, never early and soon after it is due', () => {
    const { rung, wait } = recording();
    for (const delay_ms of [0, 1, 49, 50, 51, 730, 10_000]) {
      wait(delay_ms);
      jest.advanceTimersByTime(7);
    }
    jest.advanceTimersByTime(11_000);
    expect(rung.size).toBe(7);
    for (const [due, at] of rung) {
      expect(at).toBeGreaterThanOrEqual(due);
      expect(at).toBeLessThanOrEqual(due + late_max_ms);
    }
  });

  it('keeps one timer for all, and none when nothing waits', () => {
    const { wait } = recording();
    for (let i = 0; i < 1_000; i++) wait(i);
    expect(jest.getTimerCount()).toBe(1);
    jest.advanceTimersByTime(2_000);
    expect(jest.getTimerCount()).toBe(0);
    wait(10);
    expect(jest.getTimerCount()).toBe(1);
  });

  it('takes work from work that comes due', () => {
    const queue = new RetryQueue(() => performance.now());
    let rings = 0;
    const again = (): void => {
      if (++rings < 3) queue.after(100, again);
    };
    queue.after(100, again);
    jest.advanceTimersByTime(1_000);
    expect(rings).toBe(3);
  });

  it('rings nothing after it was stopped', () => {
    const { queue, rung, wait } = recording();
    wait(100);
    queue.stop();
    jest.advanceTimersByTime(1_000);
    expect(rung.size).toBe(0);
    expect(jest.getTimerCount()).toBe(0);
  });
});
