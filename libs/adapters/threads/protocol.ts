import type { Bundle } from '#hxo/execute';

/**
 * What pool and member tell each other; alike for threads (structured clone) and processes (Node's `advanced` IPC).
 *
 * A member runs its bundles one after another, in the order in which it got them: its messages always speak of the
 * first bundle that has had no final batch, so they carry no lease.
 */

export type ToMember =
  | {
      readonly type: 'init';
      /** Passed on to the member's script. */
      readonly options: unknown;
      /** Shared lanes of a thread; a process writes {@link lane_record_bytes} to {@link lane_fd} instead. */
      readonly lanes: Int32Array<SharedArrayBuffer> | null;
    }
  /** `base` is added to a shard's index in the bundle: the sum is what the lane shows. */
  | { readonly type: 'bundle'; readonly bundle: Bundle; readonly base: number }
  /** Abort what runs of this plan, begin no more of it. */
  | { readonly type: 'cancel'; readonly plan_id: string }
  /** Begin no other bundle. Those not begun get a final batch without outcomes. */
  | { readonly type: 'drain' };

export type FromMember =
  | { readonly type: 'ready' }
  /** Its script could not be set up, or an error that nobody caught ends it; it exits. */
  | { readonly type: 'broken'; readonly reason: string }
  | { readonly type: 'begun' }
  | {
      readonly type: 'outcomes';
      /** As printOutcomes prints them. */
      readonly outcomes: string;
      readonly ordinals: readonly number[];
      /** One of them says that this member cannot be trusted any more. */
      readonly halted: boolean;
      readonly final: boolean;
    }
  | { readonly type: 'log'; readonly message: string };

/** Shards of one bundle that run at once, at most: each has a lane. */
export const lanes_max = 256;
/** What a lane shows when no shard runs in it. */
export const lane_idle = 0;
/** Lanes show a running count of shards from 1; it starts over before it leaves the range of Int32. */
export const lane_sequence_max = 2 ** 31 - 1;

/** File descriptor to which a process writes its lanes: what was written survives SIGKILL, and costs no message. */
export const lane_fd = 4;
/** A record is two little-endian Int32: the lane, and what it shows from now on. */
export const lane_record_bytes = 8;
