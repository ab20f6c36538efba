import { jest } from '@jest/globals';
import { stopOnSignal } from './start.js';

/** How a program ends at SIGTERM when its `stop` does the given: its exit code and what its log was told. */
async function endOf(stop: () => Promise<void>): Promise<{ code: unknown; told: unknown[][] }> {
  const told: unknown[][] = [];
  let exited!: (code: unknown) => void;
  const code = new Promise((resolve) => (exited = resolve));
  const exit = jest.spyOn(process, 'exit').mockImplementation((code) => exited(code) as never);
  const before = { SIGTERM: process.listeners('SIGTERM'), SIGINT: process.listeners('SIGINT') };
  stopOnSignal({ error: (...line) => told.push(line) }, stop);
  const added = process.listeners('SIGTERM').filter((listener) => !before.SIGTERM.includes(listener));
  try {
    for (const listener of added) listener('SIGTERM');
    return { code: await code, told };
  } finally {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      const ours = process.listeners(signal).filter((listener) => !before[signal].includes(listener));
      for (const listener of ours) process.off(signal, listener);
    }
    exit.mockRestore();
  }
}

it('exits 0 once it has stopped', async () => {
  expect(await endOf(() => Promise.resolve())).toEqual({ code: 0, told: [] });
});

it('logs a stop that fails, and exits 1', async () => {
  const error = new Error('The disk is gone.');
  const { code, told } = await endOf(() => Promise.reject(error));
  expect(code).toBe(1);
  expect(told).toEqual([[expect.stringContaining('could not stop'), error]]);
});
