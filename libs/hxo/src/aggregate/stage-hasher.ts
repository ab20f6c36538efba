import { hash_bytes, sha256, shardLeafHasher } from '#truth';
import type { PlanReader, PlanRow, ResultRow, Segment, StageRow } from '../checkpoint/checkpoint-store.js';
import { segmentDigest } from '../checkpoint/segment-lines.js';
import type { StageSpec } from '../plan/plan-spec.js';
import { printRanges } from '../schedule/ordinal-ranges.js';
import { HashList } from './hash-list.js';
import { resultRecord, segmentRecord } from './records.js';

export interface StageTally {
  readonly total: number;
  readonly done: number;
  readonly reused: number;
  readonly failed: number;
  readonly skipped: number;
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
  /** The first shard that had no result when it was looked for last. */
  private awaited = 0;

  constructor(
    private readonly plan: Pick<PlanRow, 'plan_no' | 'revision'>,
    private readonly stage: Pick<StageRow, 'stage_no'>,
    private readonly spec: StageSpec,
  ) {
    this.leafOf = shardLeafHasher(spec.executor, spec.id);
  }

  /**
   * Hashes on, up to the first segment with a shard that has no result, or so many segments. Segments are long: none is read
   * before the shard that was missing last has its result.
   * @returns segments hashed
   */
  advance(reader: PlanReader, segments_max: number): number {
    let hashed = 0;
    if (segments_max === 0 || !this.hasResult(reader, this.awaited)) return hashed;
    for (const segment of this.segments(reader)) {
      const { first_ordinal, count } = segment;
      const results = this.results(reader, first_ordinal + count);
      if (results.length < count) {
        this.awaited = firstWithout(results, first_ordinal);
        return hashed;
      }
      this.hash(segment, results);
      this.awaited = this.end;
      hashed++;
      if (hashed === segments_max || !this.hasResult(reader, this.awaited)) return hashed;
    }
    return hashed;
  }

  /**
   * Hashes all that is left. A shard that has no result by now was skipped. Segments that were hashed earlier are read once
   * more, since a certificate is not to vouch for what is damaged by now.
   */
  finish(reader: PlanReader): void {
    this.checkHashed(reader);
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

  private checkHashed(reader: PlanReader): void {
    if (this.end === 0) return;
    for (const segment of reader.segments(this.plan.plan_no, this.stage.stage_no)) {
      if (segment.first_ordinal > this.last_first) return;
      if (segmentDigest(segment) !== segment.digest)
        this.damage.push(`${segmentName(segment, this.spec)}: its shards are not those that were hashed`);
    }
  }

  private hasResult(reader: PlanReader, ordinal: number): boolean {
    const { plan_no, revision } = this.plan;
    return reader.results(plan_no, revision, this.stage.stage_no, ordinal, ordinal + 1).next().done !== true;
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
    this.segment_records.addLatin1(segmentRecord(segment, digest));
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
    // Segments of an altered store may overlap: no result is to be read twice.
    this.end = Math.max(this.end, first_ordinal + count);
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

/** The first ordinal from `first` on that no result is of. */
function firstWithout(results: readonly ResultRow[], first: number): number {
  const gap = results.findIndex(({ ordinal }, i) => ordinal !== first + i);
  return first + (gap < 0 ? results.length : gap);
}
