import { digestOf, hash_bytes, leafHash, planLeaf, sha256, type Digest, type PlanLeaf } from '#truth';
import { casHasher } from '../partition/cas.js';
import type { PlanReader, PlanRow, ResultRow, Segment, StageRow } from '../checkpoint/checkpoint-store.js';
import { parseShardLines } from '../checkpoint/segment-lines.js';
import type { StageSpec } from '../plan/plan-spec.js';

/**
 * The two trees that a certificate binds.
 *
 * The plan tree says what the work came to: a leaf for every shard in the order (stage, ordinal), then one for every
 * stage's output. It holds nothing that depends on timing, so a crash changes no leaf.
 *
 * The record tree says what the store holds: a leaf for every row of segments and results, over every column, in the
 * order (stage, segments, results). It lets anybody name the row that was altered later.
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

/** Computes both trees of a plan from the rows of the store. */
export function readPlanTrees(reader: PlanReader, plan: PlanRow): PlanTrees {
  const leaves = new HashList();
  const records = new HashList();
  const damage: string[] = [];
  const stages = reader.stages(plan.plan_no);
  const tallies = stages.map((stage, i) => {
    const spec = plan.spec.stages[i]!;
    return readStage(reader, plan, stage, spec, { leaves, records, damage });
  });
  stages.forEach((stage, i) => leaves.add(planLeaf(outputLeaf(stage, plan.spec.stages[i]!))));
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
  const results = reader.results(plan.plan_no, plan.revision, stage.stage_no);
  const result_records = new HashList();
  const tally = { total: 0, done: 0, reused: 0, failed: 0, skipped: 0 };
  let result = results.next();
  for (const segment of reader.segments(plan.plan_no, stage.stage_no)) {
    to.records.add(segmentRecord(segment));
    const lines = parseShardLines(segment.lines);
    for (let i = 0; i < segment.count; i++) {
      const ordinal = segment.first_ordinal + i;
      const cas = digestOf(segment.cas.subarray(i * hash_bytes, (i + 1) * hash_bytes));
      const line = lines[i];
      if (ordinal !== tally.total || line === undefined || casOf(line.inputs, line.input_digests) !== cas) {
        to.damage.push(`shard ${ordinal} of stage ${spec.id}: its inputs are not those of its content id`);
      }
      const own = result.done !== true && result.value.ordinal === ordinal ? result.value : null;
      to.leaves.add(planLeaf(shardLeaf(spec, cas, ordinal, own)));
      tally.total++;
      tally[own?.status ?? 'skipped']++;
      if (own === null) continue;
      if (own.source_plan_no !== null) tally.reused++;
      result_records.add(resultRecord(own));
      result = results.next();
    }
  }
  if (result.done !== true)
    to.damage.push(`result ${result.value.ordinal} of stage ${spec.id}: it has no shard`);
  to.records.append(result_records);
  return tally;
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
