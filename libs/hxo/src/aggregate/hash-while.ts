import type { EnginePorts } from '../engine-ports.js';
import type { LivePlan } from '../plan/live-plan.js';

const pause_ms = 50;

/** Does `work`, and meanwhile has hashed what is final of the plan. That is only a head start: errors of it do not matter. */
export async function hashWhile<T>(plan: LivePlan, ports: EnginePorts, work: () => Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  let ended = false;
  const next = (): void => {
    if (ended) return;
    timer = setTimeout(() => void ports.background.hashAhead(plan).then(next, next), pause_ms).unref();
  };
  next();
  try {
    return await work();
  } finally {
    ended = true;
    clearTimeout(timer);
  }
}
