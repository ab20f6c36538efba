import {
  canonicalJson,
  digestOf,
  hash_bytes,
  leafHash,
  planLeaf,
  sha256,
  type Digest,
  type PlanLeaf,
} from '#truth';
import { casHasher } from '../partition/cas.js';
import type { PlanReader, PlanRow, ResultRow, Segment, StageRow } from '../checkpoint/checkpoint-store.js';
import { parseShardLines, type ShardLine } from '../checkpoint/segment-lines.js';
import type { StageSpec } from '../plan/plan-spec.js';
import { printRanges } from '../schedule/ordinal-ranges.js';

/**
 * The two trees that a certificate binds.
 *
 * The plan tree says what the work came to: a leaf for every shard in the order (stage, ordinal), then one for every
 * stage's output. It holds nothing that depends on timing, so a crash changes no leaf.
 *
 * The record tree says what the store holds: a leaf for every row of the plan, its stages, segments and results, over
 * every column that is final when it is signed, in the order (plan, then for each stage: stage, segments, results). It lets
 * anybody name the row that was altered later.
 */
export interface PlanTrees {
  /** Flat leaf hashes, 32 bytes each. */
  readonly leaves: Buffer;
  readonly records: Buffer;
  readonly stages: readonly StageTally[];
  /** Rows that contradict each other, in words. A sound store has none. */
  readonly damage: readonly string[];
}

export interface StageTally {
  readonly total: number;
  readonly done: number;
  readonly reused: number;
  readonly failed: number;
  readonly skipped: number;
}

/** Computes both trees of a plan from the rows of the store. Throws RowUnreadable. */
export function readPlanTrees(reader: PlanReader, plan: PlanRow): PlanTrees {
  const leaves = new HashList();
  const records = new HashList();
  const damage: string[] = [];
  records.add(planRecord(plan));
  const rows = reader.stages(plan.plan_no);
  const outputs: Buffer[] = [];
  const tallies = plan.spec.stages.map((spec, stage_no) => {
    const stage = rows.find((row) => row.stage_no === stage_no);
    if (stage === undefined) {
      damage.push(`stage row ${spec.id}: it is gone`);
      return { total: 0, done: 0, reused: 0, failed: 0, skipped: 0 };
    }
    records.add(stageRecord(stage));
    outputs.push(planLeaf(outputLeaf(stage, spec)));
    return readStage(reader, plan, stage, spec, { leaves, records, damage });
  });
  for (const output of outputs) leaves.add(output);
  return { leaves: leaves.bytes(), records: records.bytes(), stages: tallies, damage };
}

/** What the plan's tree says of a stage's output. */
export function outputLeaf(stage: StageRow, spec: StageSpec): PlanLeaf {
  const status = stage.phase === 'done' || stage.phase === 'skipped' ? stage.phase : 'failed';
  return {
    cas: null,
    executor: spec.executor,
    ordinal: null,
    output: stage.output?.digest ?? null,
    stage: spec.id,
    status,
  };
}

/** What the plan's tree says of a shard; one without a result was skipped. */
export function shardLeaf(spec: StageSpec, cas: Digest, ordinal: number, result: ResultRow | null): PlanLeaf {
  const output = result?.status === 'done' ? outputDigest(result) : null;
  return {
    cas,
    executor: spec.executor,
    ordinal,
    output,
    stage: spec.id,
    status: result?.status ?? 'skipped',
  };
}

/** The digest of a done shard's output. */
export function outputDigest(result: Pick<ResultRow, 'declared_output' | 'value'>): Digest {
  return result.declared_output ?? sha256(result.value);
}

interface Lists {
  readonly leaves: HashList;
  readonly records: HashList;
  readonly damage: string[];
}

function readStage(
  reader: PlanReader,
  plan: PlanRow,
  stage: StageRow,
  spec: StageSpec,
  to: Lists,
): StageTally {
  const { kind, executor } = spec;
  const casOf = casHasher({
    kind,
    executor,
    executor_version: stage.executor_version,
    dependency_digests: [],
  });
  const results = new ResultWalk(reader.results(plan.plan_no, plan.revision, stage.stage_no));
  const tally = { total: 0, done: 0, reused: 0, failed: 0, skipped: 0 };
  for (const segment of reader.segments(plan.plan_no, stage.stage_no)) {
    to.records.add(segmentRecord(segment));
    const lines = linesOf(segment);
    let sound = segment.first_ordinal === tally.total;
    for (let i = 0; i < segment.count; i++) {
      const ordinal = segment.first_ordinal + i;
      const cas = digestOf(segment.cas.subarray(i * hash_bytes, (i + 1) * hash_bytes));
      const line = lines[i];
      sound &&= line !== undefined && casOf(line.inputs, line.input_digests) === cas;
      const own = results.of(ordinal);
      to.leaves.add(planLeaf(shardLeaf(spec, cas, ordinal, own)));
      tally.total++;
      tally[own?.status ?? 'skipped']++;
      if (own !== null && own.source_plan_no !== null) tally.reused++;
    }
    if (!sound) {
      to.damage.push(
        `${segmentName(segment, spec)}: its shards do not follow the earlier ones, or are not those of their content ids`,
      );
    }
  }
  results.of(Infinity);
  if (results.orphans.length > 0) {
    to.damage.push(`results ${printRanges(results.orphans)} of stage ${spec.id}: they have no shard`);
  }
  to.records.append(results.records);
  return tally;
}

/** Walks a stage's results beside its shards. Every row becomes a record, also one whose shard is not there. */
class ResultWalk {
  readonly records = new HashList();
  readonly orphans: number[] = [];
  private next: IteratorResult<ResultRow>;

  constructor(private readonly rows: Iterator<ResultRow>) {
    this.next = rows.next();
  }

  /** The result of a shard, or null. Ordinals ascend from call to call; Infinity ends the walk. */
  of(ordinal: number): ResultRow | null {
    while (this.next.done !== true && this.next.value.ordinal <= ordinal) {
      const row = this.next.value;
      this.next = this.rows.next();
      this.records.add(resultRecord(row));
      if (row.ordinal === ordinal) return row;
      this.orphans.push(row.ordinal);
    }
    return null;
  }
}

/** How people are told of a segment. */
export function segmentName({ first_ordinal, count }: Segment, stage: StageSpec): string {
  return `segment ${first_ordinal}-${first_ordinal + count - 1} of stage ${stage.id}`;
}

/** A segment's shards; none when its lines are so damaged that they cannot be told apart. */
function linesOf(segment: Segment): readonly ShardLine[] {
  try {
    return parseShardLines(segment.lines);
  } catch {
    return [];
  }
}

function planRecord(plan: PlanRow): Buffer {
  const { plan_no, plan_id, name, spec, spec_digest, revision, submitted_at, started_at } = plan;
  const columns = [plan_no, plan_id, name, spec_digest, revision, submitted_at, started_at];
  return leafHash(JSON.stringify(['plan', ...columns, canonicalJson(spec)]));
}

function stageRecord(stage: StageRow): Buffer {
  const { stage_no, phase, executor_version, total, done, reused, failed, skipped } = stage;
  const { matched, taken, truncated, misses, started_at, finished_at, output } = stage;
  const columns = [stage_no, phase, executor_version, total, done, reused, failed, skipped];
  const times = [matched, taken, truncated, started_at, finished_at];
  return leafHash(
    JSON.stringify(['stage', ...columns, ...times, canonicalJson(misses), canonicalJson(output)]),
  );
}

function segmentRecord(segment: Segment): Buffer {
  const cas = Buffer.from(segment.cas).toString('hex');
  const { first_ordinal, count, wave, misses, lines } = segment;
  return leafHash(JSON.stringify(['segment', first_ordinal, count, wave, misses, cas, lines]));
}

function resultRecord(result: ResultRow): Buffer {
  const { ordinal, attempt, status, declared_output, value, artifacts, source_plan_no, worker, finished_at } =
    result;
  const duration_us = Math.round(result.duration_ms * 1000);
  const columns = [
    ordinal,
    attempt,
    status,
    declared_output,
    value,
    artifacts,
    source_plan_no,
    worker,
    duration_us,
  ];
  return leafHash(JSON.stringify(['result', ...columns, finished_at]));
}

/** A growing flat buffer of hashes. */
class HashList {
  private buffer = Buffer.alloc(4096);
  private size = 0;

  add(hash: Uint8Array): void {
    this.reserve(hash.length);
    this.buffer.set(hash, this.size);
    this.size += hash.length;
  }

  append(other: HashList): void {
    this.add(other.bytes());
  }

  bytes(): Buffer {
    return this.buffer.subarray(0, this.size);
  }

  private reserve(more: number): void {
    if (this.size + more <= this.buffer.length) return;
    const grown = Buffer.alloc(Math.max(this.buffer.length * 2, this.size + more));
    grown.set(this.bytes());
    this.buffer = grown;
  }
}
