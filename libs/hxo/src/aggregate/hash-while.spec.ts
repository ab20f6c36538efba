import { setTimeout as sleep } from 'node:timers/promises';
import type { EnginePorts } from '../engine-ports.js';
import type { LivePlan } from '../plan/live-plan.js';
import { hashWhile } from './hash-while.js';

/** Counts the looks, and answers each as `further` says at that time. */
class Looks {
  at_ms: number[] = [];
  further: () => Promise<boolean> = async () => false;
  readonly ports = {
    background: {
      hashAhead: (): Promise<boolean> => {
        this.at_ms.push(performance.now());
        return this.further();
      },
    },
  } as unknown as EnginePorts;
}

const plan = {} as LivePlan;
const gaps = (at_ms: readonly number[]): number[] => at_ms.slice(1).map((at, i) => at - at_ms[i]!);

it.each([
  ['there is nothing more to hash', async () => false],
  ['hashing fails', () => Promise.reject(new Error('The thread died.'))],
])('pauses longer and longer while %s', async (_, further) => {
  const looks = new Looks();
  looks.further = further;
  await hashWhile(plan, looks.ports, () => sleep(900));
  // After 50, 150, 350 and 750 ms.
  expect(looks.at_ms.length).toBeGreaterThanOrEqual(3);
  expect(looks.at_ms.length).toBeLessThanOrEqual(4);
  const [first, second] = gaps(looks.at_ms);
  expect(second).toBeGreaterThan(first! * 1.3);
});

it('starts over with short pauses when it gets further, and ends with the work', async () => {
  const looks = new Looks();
  looks.further = async () => looks.at_ms.length >= 3;
  await hashWhile(plan, looks.ports, () => sleep(900));
  const seen = looks.at_ms.length;
  // After 50, 150, 350, then every 50 ms.
  expect(seen).toBeGreaterThan(6);
  await sleep(150);
  expect(looks.at_ms).toHaveLength(seen);
});

it('looks once more at a plan that was stopped, so that it is forgotten', async () => {
  const looks = new Looks();
  const stopped = hashWhile(plan, looks.ports, () => Promise.reject(new Error('stopped')));
  await expect(stopped).rejects.toThrow('stopped');
  expect(looks.at_ms).toHaveLength(1);
});
