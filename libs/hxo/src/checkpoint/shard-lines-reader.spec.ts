import type { Segment } from './checkpoint-store.js';
import { printShardLine } from './segment-lines.js';
import { ShardLinesReader } from './shard-lines-reader.js';

/** Stages of 1,000 shards each, in segments of ten. Counts the segments that are read. */
class Segments {
  reads = 0;
  segmentsOf(plan_no: number, stage_no: number, [ordinal = 0]: readonly number[]): Segment[] {
    this.reads++;
    const first_ordinal = ordinal - (ordinal % 10);
    const lines = Array.from({ length: 10 }, (_, i) => ({
      weight: 1,
      input_digests: [],
      inputs: JSON.stringify([plan_no, stage_no, first_ordinal + i]),
    }));
    const text = lines.map(printShardLine).join('');
    return [{ first_ordinal, count: 10, wave: 0, cas: new Uint8Array(), lines: text, misses: '-' }];
  }
}

describe('ShardLinesReader', () => {
  it('reads the shards asked for, over the ends of segments', () => {
    const reader = new ShardLinesReader(new Segments());
    const shards = [8, 9, 10, 31, 32].map((ordinal) => ({
      ordinal,
      inputs: JSON.stringify([7, 2, ordinal]),
      input_digests: [],
    }));
    expect(reader.read(7, 2, [8, 9, 10, 31, 32])).toEqual(shards);
    expect(reader.read(7, 2, [])).toEqual([]);
  });

  it('reads each segment once, however many stages take turns', () => {
    const store = new Segments();
    const reader = new ShardLinesReader(store);
    for (let ordinal = 0; ordinal < 100; ordinal++)
      for (let stage_no = 0; stage_no < 40; stage_no++) reader.read(1, stage_no, [ordinal]);
    expect(store.reads).toBe(40 * 10);
  });

  it('forgets the stages that were read longest ago', () => {
    const store = new Segments();
    const reader = new ShardLinesReader(store);
    for (let plan_no = 0; plan_no < 65; plan_no++) {
      reader.read(plan_no, 0, [0]);
      reader.read(0, 0, [1]);
    }
    expect(store.reads).toBe(65);
    reader.read(1, 0, [0]);
    expect(store.reads).toBe(66);
  });
});
