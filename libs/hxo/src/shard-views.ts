import { digestOf, hash_bytes } from '#truth';
import {
  reuse_misses,
  type CheckpointStore,
  type FailureRow,
  type PlanRow,
  type ResultRow,
  type ReuseMissLetter,
  type Segment,
} from './checkpoint/checkpoint-store.js';
import { block_shards, blockOf, outputDigest } from './checkpoint/result-lines.js';
import { parseShardLines, type ShardLine } from './checkpoint/segment-lines.js';
import type { LivePlan } from './plan/live-plan.js';
import { valueOf } from './report-view.js';
import type { StageBoard } from './schedule/stage-board.js';
import type { Page, ShardPhase, ShardView } from './views.js';

/** What one page looks at, in shards and in characters read: a rare phase costs more requests, never a slow one. */
const scanned_max = 10_000;
const read_chars_max = 4 * 1_048_576;

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
  const producers = new Producers(store);
  let scanned = 0;
  let read_chars = 0;
  for (let stage_no = query.from.stage_no; stage_no < plan.spec.stages.length; stage_no++) {
    if (query.stage_no !== null && stage_no !== query.stage_no) continue;
    const first = stage_no === query.from.stage_no ? query.from.ordinal : 0;
    const results = new Results(store, plan, stage_no);
    for (const segment of store.segments(plan.plan_no, stage_no, first)) {
      let lines: readonly ShardLine[] | null = null;
      for (let i = Math.max(0, first - segment.first_ordinal); i < segment.count; i++) {
        const ordinal = segment.first_ordinal + i;
        if (items.length === query.limit || scanned >= scanned_max || read_chars >= read_chars_max) {
          return { items, next_cursor: `${stage_no}.${ordinal}` };
        }
        scanned++;
        const board = boardOf(live, stage_no, ordinal);
        if (query.phase !== null && board !== null && board.phaseOf(ordinal) !== query.phase) continue;
        const result = results.of(ordinal);
        read_chars += result?.value.length ?? 0;
        const left = plan.finished_at === null ? 'pending' : 'skipped';
        const phase = board?.phaseOf(ordinal) ?? result?.status ?? left;
        if (query.phase !== null && phase !== query.phase) continue;
        lines ??= parseShardLines(segment.lines);
        const failures = store.failuresOf(plan.plan_no, stage_no, ordinal);
        const found = { segment, index: i, weight: lines[i]!.weight, phase, board, result, failures };
        items.push(shardView(plan.spec.stages[stage_no]!.id, found, producers));
      }
      // Counted when it was gone through, not before: a page must get ahead in a segment of any size.
      read_chars += segment.lines.length;
    }
  }
  return { items, next_cursor: null };
}

/** The board that follows a shard in memory; null when it is not followed any more, or not yet. */
function boardOf(live: LivePlan | undefined, stage_no: number, ordinal: number): StageBoard | null {
  const board = live?.stages[stage_no]!.board;
  return board !== undefined && ordinal < board.total ? board : null;
}

/** What the store and the board know of one shard. */
interface FoundShard {
  readonly segment: Segment;
  /** Where the shard stands in its segment. */
  readonly index: number;
  readonly weight: number;
  readonly phase: ShardPhase;
  readonly board: StageBoard | null;
  readonly result: ResultRow | null;
  readonly failures: readonly FailureRow[];
}

function shardView(stage: string, found: FoundShard, producers: Producers): ShardView {
  const { segment, index, weight, phase, board, result, failures } = found;
  const ordinal = segment.first_ordinal + index;
  const last = failures.at(-1);
  const letter = segment.misses[index]!;
  const source = result?.source_plan_no ?? null;
  const error =
    result?.status === 'failed' ? (JSON.parse(result.value) as { code: string; message: string }) : last;
  return {
    stage,
    ordinal,
    phase,
    wave: segment.wave,
    weight,
    cas_id: digestOf(segment.cas.subarray(index * hash_bytes, (index + 1) * hash_bytes)),
    attempt: result?.attempt ?? board?.attemptOf(ordinal) ?? last?.attempt ?? 0,
    failures: failures.length,
    lease_losses: board?.lossesOf(ordinal) ?? null,
    reused: source !== null,
    producing_plan_id: source === null ? null : producers.idOf(source),
    reuse_miss: letter === '-' ? null : reuse_misses[letter as ReuseMissLetter],
    output: result?.status === 'done' ? outputDigest(result) : null,
    value: result === null ? null : valueOf(result),
    worker: result === null || source !== null ? null : result.worker,
    duration_ms: result === null || source !== null ? null : result.duration_ms,
    error: error === undefined ? null : { code: error.code, message: error.message },
  };
}

/** Results of a stage, read block by block: their rows hold many. */
class Results {
  private block = -1;
  private read: ReadonlyMap<number, ResultRow> = new Map();

  constructor(
    private readonly store: Pick<CheckpointStore, 'results'>,
    private readonly plan: Pick<PlanRow, 'plan_no' | 'revision'>,
    private readonly stage_no: number,
  ) {}

  of(ordinal: number): ResultRow | null {
    const block = blockOf(ordinal);
    if (block !== this.block) {
      const { plan_no, revision } = this.plan;
      const from = block * block_shards;
      const rows = this.store.results(plan_no, revision, this.stage_no, from, from + block_shards);
      this.read = new Map(Array.from(rows, (row) => [row.ordinal, row]));
      this.block = block;
    }
    return this.read.get(ordinal) ?? null;
  }
}

/** Ids of the plans that reused results come from: few plans, many shards, and a plan's row holds its whole spec. */
class Producers {
  private readonly ids = new Map<number, string | null>();

  constructor(private readonly store: Pick<CheckpointStore, 'planByNo'>) {}

  idOf(plan_no: number): string | null {
    let id = this.ids.get(plan_no);
    if (id === undefined) {
      id = this.store.planByNo(plan_no)?.plan_id ?? null;
      this.ids.set(plan_no, id);
    }
    return id;
  }
}
