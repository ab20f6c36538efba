import { sha256 } from '#truth';
import { RowUnreadable, type Segment } from './checkpoint-store.js';
import { printShardLine } from './segment-lines.js';
import { ShardLinesReader } from './shard-lines-reader.js';

function line(plan_no: number, stage_no: number, ordinal: number): string {
  return printShardLine({
    weight: 1,
    input_digests: [],
    inputs: JSON.stringify([plan_no, stage_no, ordinal]),
  });
}

/** Stages of 1,000 shards each, in segments of ten. Counts the segments that are read. */
class Segments {
  reads = 0;
  segmentsOf(plan_no: number, stage_no: number, [ordinal = 0]: readonly number[]): Segment[] {
    this.reads++;
    const first_ordinal = ordinal - (ordinal % 10);
    const lines = Array.from({ length: 10 }, (_, i) => line(plan_no, stage_no, first_ordinal + i)).join('');
    const digest = sha256('not looked at');
    return [{ first_ordinal, count: 10, wave: 0, cas: new Uint8Array(), lines, digest, misses: '-' }];
  }
}

describe('ShardLinesReader', () => {
  it('reads the shards asked for, over the ends of segments', () => {
    const reader = new ShardLinesReader(new Segments());
    const linesOf = (ordinals: readonly number[]): string =>
      ordinals.map((ordinal) => line(7, 2, ordinal)).join('');
    const whole = Array.from({ length: 10 }, (_, i) => 10 + i);
    for (const ordinals of [[8, 9, 10, 31, 32], whole, [9, ...whole, 20], [12, 14], [19, 29, 39], []])
      expect(reader.read(7, 2, ordinals)).toBe(linesOf(ordinals));
  });

  it.each([
    ['no segment of it', () => []],
    ['a segment without its line', ([segment]) => [{ ...segment!, lines: line(7, 2, 10) }]],
    ['half its line', ([segment]) => [{ ...segment!, lines: line(7, 2, 10) + line(7, 2, 11).slice(0, -1) }]],
  ] satisfies [string, (sound: readonly Segment[]) => Segment[]][])(
    'throws when the store has %s',
    (_, spoil) => {
      const segmentsOf = (): Segment[] => spoil(new Segments().segmentsOf(7, 2, [11]));
      const reader = new ShardLinesReader({ segmentsOf });
      expect(() => reader.read(7, 2, [11])).toThrow(RowUnreadable);
    },
  );

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
