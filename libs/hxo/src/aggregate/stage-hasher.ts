import { hash_bytes, shardLeafHasher } from '#truth';
import type {
  PlanReader,
  PlanRow,
  ResultBatch,
  ResultRow,
  Segment,
  StageRow,
} from '../checkpoint/checkpoint-store.js';
import { block_shards, blockOf, outputDigest, parseResults } from '../checkpoint/result-lines.js';
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
  /** Results up to this block are taken; those whose segment is not hashed yet wait, in the order of their ordinals. */
  private next_block = 0;
  private waiting: ResultRow[] = [];
  /** The next segment is not read before all results below this ordinal are taken. */
  private needed = 1;

  constructor(
    private readonly plan: Pick<PlanRow, 'plan_no' | 'revision'>,
    private readonly stage: Pick<StageRow, 'stage_no' | 'total'>,
    private readonly spec: StageSpec,
  ) {
    this.leafOf = shardLeafHasher(spec.executor, spec.id);
  }

  /**
   * Hashes on, up to the first block of shards that do not all have a result, or so many segments. Segments are long: none is
   * read before all its results are there.
   * @returns segments hashed
   */
  advance(reader: PlanReader, segments_max: number): number {
    let hashed = 0;
    if (segments_max === 0 || !this.takeUpTo(reader, this.needed)) return hashed;
    for (const segment of this.segments(reader)) {
      this.needed = segment.first_ordinal + segment.count;
      if (!this.takeUpTo(reader, this.needed)) break;
      this.hash(segment);
      this.needed++;
      hashed++;
      if (hashed === segments_max) break;
    }
    return hashed;
  }

  /**
   * Hashes all that is left. A shard that has no result by now was skipped. Segments that were hashed earlier are read once
   * more, since a certificate is not to vouch for what is damaged by now.
   */
  finish(reader: PlanReader): void {
    this.checkHashed(reader);
    for (const segment of this.segments(reader)) {
      const end = segment.first_ordinal + segment.count;
      if (this.takenBelow() < end) this.take(reader, (blockOf(end - 1) + 1) * block_shards);
      this.hash(segment);
    }
    this.take(reader, Infinity);
    for (const { ordinal } of this.waiting.splice(0)) this.orphans.push(ordinal);
    if (this.orphans.length > 0)
      this.damage.push(
        `results ${printRanges(this.orphans)} of stage ${this.spec.id}: they have no shard, or more than one result`,
      );
  }

  private takenBelow(): number {
    return this.next_block * block_shards;
  }

  /** Takes blocks whose shards all have their results. Are all results below the ordinal taken? */
  private takeUpTo(reader: PlanReader, ordinal: number): boolean {
    while (this.takenBelow() < ordinal) if (!this.takeWhole(reader)) return false;
    return true;
  }

  /** Takes the next block, if there is one and its shards all have their results. */
  private takeWhole(reader: PlanReader): boolean {
    const from = this.takenBelow();
    if (from >= this.stage.total) return false;
    const { plan_no, revision } = this.plan;
    const below = from + block_shards;
    const there = reader.countResults(plan_no, revision, this.stage.stage_no, from, below);
    if (there < Math.min(below, this.stage.total) - from) return false;
    this.take(reader, below);
    return true;
  }

  /** Takes the results from the next block on up to an ordinal. */
  private take(reader: PlanReader, below: number): void {
    const { plan_no, revision } = this.plan;
    const taken: ResultRow[] = [];
    for (const batch of reader.resultBatches(
      plan_no,
      revision,
      this.stage.stage_no,
      this.takenBelow(),
      below,
    )) {
      this.result_records.addLatin1(resultRecord(batch));
      taken.push(...parseResults(batch));
    }
    // Rows that were accepted apart may hold shards in turns.
    taken.sort((a, b) => a.ordinal - b.ordinal);
    this.waiting = this.waiting.length === 0 ? taken : [...this.waiting, ...taken];
    this.next_block = blockOf(below);
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

  private hash(segment: Segment): void {
    const { first_ordinal, count } = segment;
    const { tally } = this;
    const ids = Buffer.from(segment.cas.buffer, segment.cas.byteOffset, segment.cas.length).toString('hex');
    const digest = segmentDigest(segment);
    const sound = first_ordinal === tally.total && digest === segment.digest;
    this.segment_records.addLatin1(segmentRecord(segment, digest));
    let at = 0;
    for (let i = 0; i < count; i++) {
      const ordinal = first_ordinal + i;
      while (at < this.waiting.length && this.waiting[at]!.ordinal < ordinal)
        this.orphans.push(this.waiting[at++]!.ordinal);
      const cas = ids.slice(2 * i * hash_bytes, 2 * (i + 1) * hash_bytes);
      const own = this.waiting[at]?.ordinal === ordinal ? this.waiting[at++]! : null;
      const status = own?.status ?? 'skipped';
      const output = own?.status === 'done' ? outputDigest(own) : null;
      this.leaves.addLatin1(this.leafOf(cas, ordinal, output, status));
      tally.total++;
      tally[status]++;
      if (own !== null && own.source_plan_no !== null) tally.reused++;
    }
    this.waiting = this.waiting.slice(at);
    if (!sound)
      this.damage.push(
        `${segmentName(segment, this.spec)}: its shards do not follow the earlier ones, or are not those that partitioning made`,
      );
    this.last_first = first_ordinal;
    // Segments of an altered store may overlap: no result is to be counted twice.
    this.end = Math.max(this.end, first_ordinal + count);
  }
}

/** How people are told of a row of results. */
export function resultName(batch: ResultBatch, stage: StageSpec): string {
  const ordinals = parseResults(batch).map(({ ordinal }) => ordinal);
  return `result${ordinals.length === 1 ? '' : 's'} ${printRanges(ordinals)} of stage ${stage.id}`;
}

/** How people are told of a segment. */
export function segmentName({ first_ordinal, count }: Segment, stage: StageSpec): string {
  return `segment ${first_ordinal}-${first_ordinal + count - 1} of stage ${stage.id}`;
}
