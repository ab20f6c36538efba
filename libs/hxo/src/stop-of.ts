import { RowUnreadable } from './checkpoint/checkpoint-store.js';
import { PlanStopped } from './plan/live-plan.js';

/** What SQLite says of a file that is not what it has written. */
const damage = /^SQLITE_(CORRUPT|NOTADB)/;

/** Why an error that nothing waits out ends a plan, with what to do about it. */
export function stopOf(error: unknown): PlanStopped {
  if (error instanceof PlanStopped) return error;
  if (error instanceof RowUnreadable) return new PlanStopped('failed', 'STORE_DAMAGED', error.message);
  const { code } = (error ?? {}) as { readonly code?: unknown };
  if (typeof code === 'string' && damage.test(code)) {
    const detail = `The checkpoint store is damaged (${code}). Stop HXO, check it with \`npx hxo verify --store\`, and restore it from a backup.`;
    return new PlanStopped('failed', 'STORE_DAMAGED', detail);
  }
  const detail =
    'An unexpected error in HXO: its log has the particulars. Report them, and submit the plan again.';
  return new PlanStopped('failed', 'INTERNAL_ERROR', detail);
}
