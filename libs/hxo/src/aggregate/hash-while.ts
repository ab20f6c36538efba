import type { EnginePorts } from '../engine-ports.js';
import type { LivePlan } from '../plan/live-plan.js';

/** Between two looks; doubled, up to the longest, for as long as nothing more is final. */
const pause_ms = 50;
const pause_ms_max = 2_000;

/** Does `work`, and meanwhile has hashed what is final of the plan. That is only a head start: errors of it do not matter. */
export async function hashWhile<T>(plan: LivePlan, ports: EnginePorts, work: () => Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  let ended = false;
  const hash = (): Promise<boolean> => ports.background.hashAhead(plan).catch(() => false);
  const lookIn = (ms: number): void => {
    timer = setTimeout(() => void look(ms), ms).unref();
  };
  const look = async (paused_ms: number): Promise<void> => {
    const further = await hash();
    if (!ended) lookIn(further ? pause_ms : Math.min(2 * paused_ms, pause_ms_max));
  };
  lookIn(pause_ms);
  try {
    return await work();
  } catch (error) {
    // A plan that was stopped is forgotten.
    void hash();
    throw error;
  } finally {
    ended = true;
    clearTimeout(timer);
  }
}
