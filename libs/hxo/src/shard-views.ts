import { digestOf, hash_bytes } from '#truth';
import { outputDigest } from './aggregate/plan-trees.js';
import {
  reuse_misses,
  type CheckpointStore,
  type PlanRow,
  type ReuseMissLetter,
  type Segment,
} from './checkpoint/checkpoint-store.js';
import { parseShardLines } from './checkpoint/segment-lines.js';
import type { LivePlan } from './plan/live-plan.js';
import { valueOf } from './report-view.js';
import type { Page, ShardPhase, ShardView } from './views.js';

/** Shards looked at for one page: a rare phase costs more requests, never a slow one. */
const scanned_max = 20_000;

interface Position {
  readonly stage_no: number;
  readonly ordinal: number;
}

/**
 * A page of a plan's shards, in the order of their stages and ordinals. A page may be short, even empty, and still have a
 * `next_cursor`: it scanned its share. Cursors are `stage.ordinal`.
 */
export function shardPage(
  plan: PlanRow,
  live: LivePlan | undefined,
  store: CheckpointStore,
  query: {
    readonly from: Position;
    readonly limit: number;
    readonly stage_no: number | null;
    readonly phase: string | null;
  },
): Page<ShardView> {
  const items: ShardView[] = [];
  let scanned = 0;
  for (let stage_no = query.from.stage_no; stage_no < plan.spec.stages.length; stage_no++) {
    if (query.stage_no !== null && stage_no !== query.stage_no) continue;
    const first = stage_no === query.from.stage_no ? query.from.ordinal : 0;
    for (const segment of store.segments(plan.plan_no, stage_no)) {
      if (segment.first_ordinal + segment.count <= first) continue;
      for (let i = Math.max(0, first - segment.first_ordinal); i < segment.count; i++) {
        const ordinal = segment.first_ordinal + i;
        if (items.length === query.limit || scanned++ >= scanned_max) {
          return { items, next_cursor: `${stage_no}.${ordinal}` };
        }
        const view = shardView(plan, live, store, stage_no, segment, i, query.phase);
        if (view !== null) items.push(view);
      }
    }
  }
  return { items, next_cursor: null };
}

/** Null when the shard is not in the phase asked for. */
function shardView(
  plan: PlanRow,
  live: LivePlan | undefined,
  store: CheckpointStore,
  stage_no: number,
  segment: Segment,
  index: number,
  wanted: string | null,
): ShardView | null {
  const ordinal = segment.first_ordinal + index;
  const board = live?.stages[stage_no]!.board;
  const result = store.result(plan.plan_no, plan.revision, stage_no, ordinal);
  const known = board !== undefined && ordinal < board.total;
  const phase: ShardPhase = known ? board.phaseOf(ordinal) : (result?.status ?? 'skipped');
  if (wanted !== null && phase !== wanted) return null;
  const failures = store.failuresOf(plan.plan_no, stage_no, ordinal);
  const last = failures.at(-1);
  const letter = segment.misses[index]!;
  const source = result?.source_plan_no ?? null;
  const error =
    result?.status === 'failed' ? (JSON.parse(result.value) as { code: string; message: string }) : last;
  return {
    stage: plan.spec.stages[stage_no]!.id,
    ordinal,
    phase,
    wave: segment.wave,
    weight: parseShardLines(segment.lines)[index]!.weight,
    cas_id: digestOf(segment.cas.subarray(index * hash_bytes, (index + 1) * hash_bytes)),
    attempt: result?.attempt ?? (known ? board.attemptOf(ordinal) : (last?.attempt ?? 0)),
    failures: failures.length,
    lease_losses: known ? board.lossesOf(ordinal) : 0,
    reused: source !== null,
    producing_plan_id: source === null ? null : (store.planByNo(source)?.plan_id ?? null),
    reuse_miss: letter === '-' ? null : reuse_misses[letter as ReuseMissLetter],
    output: result?.status === 'done' ? outputDigest(result) : null,
    value: result === null ? null : valueOf(result),
    worker: result === null || source !== null ? null : result.worker,
    duration_ms: result === null || source !== null ? null : result.duration_ms,
    error: error === undefined ? null : { code: error.code, message: error.message },
  };
}
