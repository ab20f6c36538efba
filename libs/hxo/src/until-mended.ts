import { setTimeout as sleep } from 'node:timers/promises';
import type { LivePlan } from './plan/live-plan.js';
import { backOff } from './schedule/back-off.js';

/** Waits between two tries of what the machine did not let through. */
const retry = { max_failures: Infinity, backoff_ms: 500, backoff_max_ms: 15_000 };

/** System calls, SQLite calls and connections that fail for want of something that people give back: space, memory, a disk, a permission, a database. */
const machine_trouble =
  /^(ENOSPC|EDQUOT|EIO|EMFILE|ENFILE|ENOMEM|EAGAIN|EBUSY|EROFS|EACCES|EPERM|ESTALE|ETIMEDOUT|TARGET_(UNREACHABLE|LOCKED|CONFLICT)|SQLITE_(BUSY|LOCKED|FULL|READONLY|IOERR|CANTOPEN|NOMEM|PROTOCOL).*)$/;

/**
 * Does something for a plan, again and again for as long as the machine is to blame: a full disk, or a thread that died,
 * is no fault of the plan's. Meanwhile the plan says what it waits for. Throws every other error, and PlanStopped once
 * the plan was stopped.
 *
 * @param what names the work: `Partitioning stage pack`
 */
export async function untilMended<T>(plan: LivePlan, what: string, work: () => Promise<T>): Promise<T> {
  for (let failures = 1; ; failures++) {
    if (plan.stopped !== null) throw plan.stopped;
    try {
      return await work();
    } catch (error) {
      if (!isMachineTrouble(error)) throw error;
      const trouble = `${what} failed (${(error as Error).message}) and is tried again. Free disk space, or mend what is named here; abort the plan to give up.`;
      plan.troubles.add(trouble);
      await sleep(backOff(retry, failures, 1), undefined, { ref: false });
      plan.troubles.delete(trouble);
    }
  }
}

function isMachineTrouble(error: unknown): boolean {
  const { name, code } = error as { readonly name?: unknown; readonly code?: unknown };
  return name === 'ThreadDied' || (typeof code === 'string' && machine_trouble.test(code));
}
