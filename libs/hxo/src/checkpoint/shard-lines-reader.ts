import type { BundleShard } from '../execute/transport.js';
import type { CheckpointStore } from './checkpoint-store.js';
import { parseShardLines, type ShardLine } from './segment-lines.js';

/** Segments kept parsed: bundles of a stage walk through one segment after the other. */
const kept_segments = 8;

/** Reads the shards of bundles from their segments, keeping the last few segments parsed. */
export class ShardLinesReader {
  private readonly kept = new Map<string, { readonly first: number; readonly lines: readonly ShardLine[] }>();

  constructor(private readonly store: Pick<CheckpointStore, 'segmentsOf'>) {}

  /** @param ordinals ascending */
  read(plan_no: number, stage_no: number, ordinals: readonly number[]): BundleShard[] {
    return ordinals.map((ordinal) => {
      const { first, lines } = this.segment(plan_no, stage_no, ordinal);
      const line = lines[ordinal - first]!;
      return { ordinal, inputs: line.inputs, input_digests: line.input_digests };
    });
  }

  private segment(
    plan_no: number,
    stage_no: number,
    ordinal: number,
  ): { first: number; lines: readonly ShardLine[] } {
    const prefix = `${plan_no}/${stage_no}/`;
    for (const [key, segment] of this.kept) {
      const inside = ordinal >= segment.first && ordinal < segment.first + segment.lines.length;
      if (inside && key.startsWith(prefix)) return segment;
    }
    const row = this.store.segmentsOf(plan_no, stage_no, [ordinal])[0]!;
    const segment = { first: row.first_ordinal, lines: parseShardLines(row.lines) };
    this.kept.set(`${prefix}${row.first_ordinal}`, segment);
    if (this.kept.size > kept_segments) this.kept.delete(this.kept.keys().next().value!);
    return segment;
  }
}
