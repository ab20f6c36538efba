import { hash } from 'node:crypto';
import {
  canonicalJson,
  hash_bytes,
  planLeaf,
  sha256,
  shardLeafHasher,
  type Digest,
  type PlanLeaf,
} from '#truth';
import type { PlanReader, PlanRow, ResultRow, Segment, StageRow } from '../checkpoint/checkpoint-store.js';
import { segmentDigest } from '../checkpoint/segment-lines.js';
import type { StageSpec } from '../plan/plan-spec.js';
import { printRanges } from '../schedule/ordinal-ranges.js';

/** Bytes of a {@link HashList}'s chunks: small ones first, since most stages are small. */
const chunk_bytes_min = 1_024;
const chunk_bytes_max = 131_072;

/**
 * What a certificate binds: a tree and a list.
 *
 * The plan tree says what the work came to: a leaf for every shard in the order (stage, ordinal), then one for every
 * stage's output. It holds nothing that depends on timing, so a crash changes no leaf.
 *
 * The records say what the store holds: a SHA-256 for every row of the plan, its stages, segments and results, over every
 * column that is final when it is signed, in the order (plan, then for each stage: stage, segments, results). They let anybody name the row that was altered later.
 */
export interface PlanTrees {
  readonly leaves: HashList;
  readonly records: HashList;
  readonly stages: readonly StageTally[];
  /** Rows that contradict each other, in words. A sound store has none. */
  readonly damage: readonly string[];
}

/** The hasher of a stage: a new one, or one that has begun. */
export type HasherOf = (stage: StageRow, spec: StageSpec) => StageHasher;

export interface StageTally {
  readonly total: number;
  readonly done: number;
  readonly reused: number;
  readonly failed: number;
  readonly skipped: number;
}

/**
 * Computes the tree and the records of a plan from the rows of the store. Throws RowUnreadable.
 *
 * @param hasherOf what has been hashed of a stage before, while it was running
 */
export function readPlanTrees(
  reader: PlanReader,
  plan: PlanRow,
  hasherOf: HasherOf = (stage, spec) => new StageHasher(plan, stage, spec),
): PlanTrees {
  const leaves = new HashList();
  const records = new HashList();
  const damage: string[] = [];
  records.addLatin1(planRecord(plan));
  const rows = reader.stages(plan.plan_no);
  const outputs = new HashList();
  const tallies = plan.spec.stages.map((spec, stage_no) => {
    const stage = rows.find((row) => row.stage_no === stage_no);
    if (stage === undefined) {
      damage.push(`stage row ${spec.id}: it is gone`);
      return { total: 0, done: 0, reused: 0, failed: 0, skipped: 0 };
    }
    records.addLatin1(stageRecord(stage));
    outputs.addLatin1(planLeaf(outputLeaf(stage, spec)).toString('latin1'));
    const hasher = hasherOf(stage, spec);
    hasher.finish(reader);
    leaves.append(hasher.leaves);
    records.append(hasher.segment_records);
    records.append(hasher.result_records);
    damage.push(...hasher.damage);
    return hasher.tally;
  });
  leaves.append(outputs);
  return { leaves, records, stages: tallies, damage };
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

/**
 * Hashes the shards of a stage, segment by segment: all of them at the end, or, while the stage is still running, those of
 * the first segments in which nothing can change any more.
 */
export class StageHasher {
  readonly leaves = new HashList();
  /** Records of segments, and of results. */
  readonly segment_records = new HashList();
  readonly result_records = new HashList();
  readonly damage: string[] = [];
  readonly tally = { total: 0, done: 0, reused: 0, failed: 0, skipped: 0 };
  private readonly leafOf: ReturnType<typeof shardLeafHasher>;
  private readonly orphans: number[] = [];
  /** First ordinal of the segment hashed last, and the ordinal after its shards. */
  private last_first = -1;
  private end = 0;

  constructor(
    private readonly plan: Pick<PlanRow, 'plan_no' | 'revision'>,
    private readonly stage: Pick<StageRow, 'stage_no'>,
    private readonly spec: StageSpec,
  ) {
    this.leafOf = shardLeafHasher(spec.executor, spec.id);
  }

  /** Hashes on, up to the first segment with a shard that has no result, or so many segments. */
  advance(reader: PlanReader, segments_max: number): void {
    let left = segments_max;
    for (const segment of this.segments(reader)) {
      if (left-- === 0) return;
      const results = this.results(reader, segment.first_ordinal + segment.count);
      if (results.length < segment.count) return;
      this.hash(segment, results);
    }
  }

  /** Hashes all that is left. A shard that has no result by now was skipped. */
  finish(reader: PlanReader): void {
    for (const segment of this.segments(reader))
      this.hash(segment, this.results(reader, segment.first_ordinal + segment.count));
    this.takeOrphans(this.results(reader, Infinity));
    if (this.orphans.length > 0)
      this.damage.push(`results ${printRanges(this.orphans)} of stage ${this.spec.id}: they have no shard`);
  }

  private *segments(reader: PlanReader): Generator<Segment> {
    for (const segment of reader.segments(this.plan.plan_no, this.stage.stage_no, this.end))
      if (segment.first_ordinal > this.last_first) yield segment;
  }

  /** Results from the last segment hashed up to an ordinal, which is not among them. */
  private results(reader: PlanReader, below: number): ResultRow[] {
    const { plan_no, revision } = this.plan;
    return [...reader.results(plan_no, revision, this.stage.stage_no, this.end, below)];
  }

  private hash(segment: Segment, results: readonly ResultRow[]): void {
    const { first_ordinal, count } = segment;
    const { tally } = this;
    const ids = Buffer.from(segment.cas.buffer, segment.cas.byteOffset, segment.cas.length).toString('hex');
    const digest = segmentDigest(segment);
    const sound = first_ordinal === tally.total && digest === segment.digest;
    this.segment_records.addLatin1(
      recordHash(JSON.stringify(['segment', segment.digest, digest, segment.misses])),
    );
    let at = results.findIndex((result) => result.ordinal >= first_ordinal);
    if (at < 0) at = results.length;
    this.takeOrphans(results.slice(0, at));
    for (let i = 0; i < count; i++) {
      const ordinal = first_ordinal + i;
      const cas = ids.slice(2 * i * hash_bytes, 2 * (i + 1) * hash_bytes);
      const own = results[at]?.ordinal === ordinal ? results[at++]! : null;
      const status = own?.status ?? 'skipped';
      const value = own === null ? null : sha256(own.value);
      const output = own?.status === 'done' ? (own.declared_output ?? value) : null;
      this.leaves.addLatin1(this.leafOf(cas, ordinal, output, status));
      if (own !== null) this.result_records.addLatin1(resultRecord(own, value!));
      tally.total++;
      tally[status]++;
      if (own !== null && own.source_plan_no !== null) tally.reused++;
    }
    if (!sound)
      this.damage.push(
        `${segmentName(segment, this.spec)}: its shards do not follow the earlier ones, or are not those that partitioning made`,
      );
    this.last_first = first_ordinal;
    this.end = first_ordinal + count;
  }

  /** Every row becomes a record, also one whose shard is not there. */
  private takeOrphans(results: readonly ResultRow[]): void {
    for (const result of results) {
      this.result_records.addLatin1(resultRecord(result, sha256(result.value)));
      this.orphans.push(result.ordinal);
    }
  }
}

/** How people are told of a segment. */
export function segmentName({ first_ordinal, count }: Segment, stage: StageSpec): string {
  return `segment ${first_ordinal}-${first_ordinal + count - 1} of stage ${stage.id}`;
}

function recordHash(text: string): string {
  return hash('sha256', text, 'binary');
}

function planRecord(plan: PlanRow): string {
  const { plan_no, plan_id, name, spec, spec_digest, revision, submitted_at, started_at } = plan;
  const columns = [plan_no, plan_id, name, spec_digest, revision, submitted_at, started_at];
  return recordHash(JSON.stringify(['plan', ...columns, canonicalJson(spec)]));
}

function stageRecord(stage: StageRow): string {
  const { stage_no, phase, executor_version, total, done, reused, failed, skipped } = stage;
  const { matched, taken, truncated, misses, started_at, finished_at, output } = stage;
  const columns = [stage_no, phase, executor_version, total, done, reused, failed, skipped];
  const times = [matched, taken, truncated, started_at, finished_at];
  return recordHash(
    JSON.stringify(['stage', ...columns, ...times, canonicalJson(misses), canonicalJson(output)]),
  );
}

/** @param value digest of the result's value */
function resultRecord(result: ResultRow, value: Digest): string {
  const { ordinal, attempt, status, declared_output, artifacts, source_plan_no, worker, finished_at } =
    result;
  const duration_us = Math.round(result.duration_ms * 1000);
  return recordHash(
    JSON.stringify([
      'result',
      ordinal,
      attempt,
      status,
      declared_output,
      value,
      artifacts,
      source_plan_no,
      worker,
      duration_us,
      finished_at,
    ]),
  );
}

/** Hashes of 32 bytes in chunks, so that a list of millions grows without being copied. */
export class HashList {
  private readonly chunks: Buffer[] = [];
  private open = Buffer.alloc(0);
  private used = 0;

  /** Adds a hash whose bytes are characters. */
  addLatin1(hash: string): void {
    if (this.used === this.open.length) this.openChunk();
    this.used += this.open.write(hash, this.used, hash_bytes, 'latin1');
  }

  /** Adds the hashes of another list, which is not to be added to afterwards. */
  append(other: HashList): void {
    this.close();
    other.close();
    this.chunks.push(...other.chunks);
  }

  /** All hashes, one after the other, as they lie in memory. */
  parts(): readonly Buffer[] {
    this.close();
    return this.chunks;
  }

  /** All hashes in one buffer. */
  bytes(): Buffer {
    return Buffer.concat(this.parts());
  }

  private openChunk(): void {
    this.close();
    this.open = Buffer.alloc(Math.min(chunk_bytes_max, chunk_bytes_min << Math.min(this.chunks.length, 8)));
  }

  private close(): void {
    if (this.used > 0) this.chunks.push(this.open.subarray(0, this.used));
    this.open = Buffer.alloc(0);
    this.used = 0;
  }
}
