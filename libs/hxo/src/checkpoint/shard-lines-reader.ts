import type { BundleShard } from '../execute/transport.js';
import type { CheckpointStore } from './checkpoint-store.js';
import { parseShardLines, type ShardLine } from './segment-lines.js';

/** Stages whose segment is kept parsed, the one read last in each: as many as take turns at a time, and more. */
const kept_stages = 64;

interface ParsedSegment {
  readonly first: number;
  readonly lines: readonly ShardLine[];
}

/**
 * Reads the shards of bundles from their segments. Bundles of a stage walk through one segment after the other, and stages
 * take turns: so the last segment of each stage is kept parsed, for the stages that were read most recently.
 */
export class ShardLinesReader {
  /** By plan and stage, the stage read last at the end. */
  private readonly kept = new Map<string, ParsedSegment>();

  constructor(private readonly store: Pick<CheckpointStore, 'segmentsOf'>) {}

  /** @param ordinals ascending */
  read(plan_no: number, stage_no: number, ordinals: readonly number[]): BundleShard[] {
    const key = `${plan_no}/${stage_no}`;
    let segment = this.kept.get(key);
    const shards = ordinals.map((ordinal) => {
      if (segment === undefined || !holds(segment, ordinal)) segment = this.parse(plan_no, stage_no, ordinal);
      const line = segment.lines[ordinal - segment.first]!;
      return { ordinal, inputs: line.inputs, input_digests: line.input_digests };
    });
    if (segment !== undefined) this.keep(key, segment);
    return shards;
  }

  private parse(plan_no: number, stage_no: number, ordinal: number): ParsedSegment {
    const row = this.store.segmentsOf(plan_no, stage_no, [ordinal])[0]!;
    return { first: row.first_ordinal, lines: parseShardLines(row.lines) };
  }

  private keep(key: string, segment: ParsedSegment): void {
    this.kept.delete(key);
    this.kept.set(key, segment);
    if (this.kept.size > kept_stages) this.kept.delete(this.kept.keys().next().value!);
  }
}

function holds({ first, lines }: ParsedSegment, ordinal: number): boolean {
  return ordinal >= first && ordinal < first + lines.length;
}
