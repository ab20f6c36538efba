import type { Settings } from '#settings';
import type { ThreadTransportOptions } from '#adapters/threads';

/**
 * Members that a pool keeps ready. Where databases are configured, backfills are likely: their batches run in a process,
 * which takes as long to start as a hundred batches take to apply. Elsewhere it would only take 50 MB.
 */
export function readyMembers({ targets }: Settings): NonNullable<ThreadTransportOptions['ready']> {
  return Object.keys(targets).length > 0 ? ['process'] : [];
}
