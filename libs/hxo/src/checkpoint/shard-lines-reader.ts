import { RowUnreadable, type CheckpointStore } from './checkpoint-store.js';

/** Stages whose segment is kept, the one read last in each: as many as take turns at a time, and more. */
const kept_stages = 64;

/** A segment's lines, taken apart only when some of them are asked for alone. */
interface KeptSegment {
  readonly stage_no: number;
  readonly first: number;
  readonly count: number;
  readonly text: string;
  lines?: readonly string[];
}

/**
 * Reads the shard lines of bundles from their segments. Bundles of a stage walk through one segment after the other, and
 * stages take turns: so the last segment of each stage is kept, for the stages that were read most recently.
 */
export class ShardLinesReader {
  /** By plan and stage, the stage read last at the end. */
  private readonly kept = new Map<string, KeptSegment>();

  constructor(private readonly store: Pick<CheckpointStore, 'segmentsOf'>) {}

  /**
   * The lines that define the shards, in the order of their ordinals. Throws {@link RowUnreadable} when the store does not have them.
   * @param ordinals ascending
   */
  read(plan_no: number, stage_no: number, ordinals: readonly number[]): string {
    const key = `${plan_no}/${stage_no}`;
    let segment = this.kept.get(key);
    let text = '';
    for (let at = 0; at < ordinals.length;) {
      if (segment === undefined || !holds(segment, ordinals[at]!))
        segment = this.fetch(plan_no, stage_no, ordinals[at]!);
      let end = at + 1;
      while (end < ordinals.length && holds(segment, ordinals[end]!)) end++;
      text += end - at === segment.count ? segment.text : linesOf(segment, ordinals.slice(at, end));
      at = end;
    }
    if (segment !== undefined) this.keep(key, segment);
    return text;
  }

  private fetch(plan_no: number, stage_no: number, ordinal: number): KeptSegment {
    const [segment] = this.store.segmentsOf(plan_no, stage_no, [ordinal]);
    if (segment === undefined) throw new RowUnreadable('segment', { stage_no, ordinal }, 'first_ordinal');
    const { first_ordinal, count, lines } = segment;
    return { stage_no, first: first_ordinal, count, text: lines };
  }

  private keep(key: string, segment: KeptSegment): void {
    this.kept.delete(key);
    this.kept.set(key, segment);
    if (this.kept.size > kept_stages) this.kept.delete(this.kept.keys().next().value!);
  }
}

function holds({ first, count }: KeptSegment, ordinal: number): boolean {
  return ordinal >= first && ordinal < first + count;
}

function linesOf(segment: KeptSegment, ordinals: readonly number[]): string {
  const { stage_no, first } = segment;
  // What comes after the last line feed is no line.
  const lines = (segment.lines ??= segment.text.split('\n').slice(0, -1));
  let text = '';
  for (const ordinal of ordinals) {
    const line = lines[ordinal - first];
    if (line === undefined) throw new RowUnreadable('segment', { stage_no, ordinal: first }, 'lines');
    text += `${line}\n`;
  }
  return text;
}
