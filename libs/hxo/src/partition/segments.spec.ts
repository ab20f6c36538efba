import fc from 'fast-check';
import { canonicalJson, digestOf, sha256 } from '#truth';
import { parseShardLines } from '../checkpoint/segment-lines.js';
import type { Workspace } from '../execute/workspace.js';
import { casId } from './cas.js';
import type { Partitioner, PartitionSummary, ShardDraft } from './contract.js';
import { makeSegments, type SegmentDraft } from './segments.js';

const content = { kind: 'k', executor: 'e', executor_version: '1', dependency_digests: [] };
const summary: PartitionSummary = { matched: 9, taken: 7, truncated: 2 };

/** Yields what it is told to, and reads no workspace. */
const fromList: Partitioner<readonly ShardDraft[]> = {
  name: 'from_list',
  parse: () => [],
  async *partition(list) {
    yield* list;
    return summary;
  },
};

async function segmentsOf(list: readonly ShardDraft[]): Promise<SegmentDraft[]> {
  const made = makeSegments(fromList, list, content, { workspace: {} as Workspace });
  const segments: SegmentDraft[] = [];
  for (let next = await made.next(); ; next = await made.next()) {
    if (next.done === true) {
      expect(next.value).toBe(summary);
      return segments;
    }
    segments.push(next.value);
  }
}

const draft = (wave: number, i: number, text = ''): ShardDraft => ({
  wave,
  weight: 1 + (i % 5),
  inputs: { i, text },
  input_digests: [sha256(String(i))],
});

/** So many shards in each wave, waves left out allowed. */
const plans = fc
  .array(fc.constantFrom(0, 1, 2, 255, 256, 257, 600), { maxLength: 4 })
  .map((waves) => waves.flatMap((count, wave) => Array.from({ length: count }, (_, i) => draft(wave, i))));

describe('makeSegments', () => {
  it('tiles the stage: every shard once, in order, with its own id, waves apart, at most 256 a segment', async () => {
    await fc.assert(
      fc.asyncProperty(plans, async (list) => {
        const segments = await segmentsOf(list);
        let ordinal = 0;
        for (const segment of segments) {
          expect(segment.first_ordinal).toBe(ordinal);
          expect(segment.count).toBeGreaterThan(0);
          expect(segment.count).toBeLessThanOrEqual(256);
          const drafts = list.slice(ordinal, ordinal + segment.count);
          expect(new Set(drafts.map(({ wave }) => wave))).toEqual(new Set([segment.wave]));
          expect(parseShardLines(segment.lines)).toEqual(
            drafts.map(({ weight, input_digests, inputs }) => ({
              weight,
              input_digests,
              inputs: canonicalJson(inputs),
            })),
          );
          const ids = drafts.map((_, i) => digestOf(segment.cas.subarray(i * 32, (i + 1) * 32)));
          expect(ids).toEqual(drafts.map((each) => casId({ ...content, ...each })));
          ordinal += segment.count;
        }
        expect(ordinal).toBe(list.length);
      }),
      { numRuns: 25 },
    );
  });

  it('fills segments before it opens new ones', async () => {
    const list = Array.from({ length: 600 }, (_, i) => draft(0, i));
    expect((await segmentsOf(list)).map(({ count }) => count)).toEqual([256, 256, 88]);
  });

  it('closes a segment early when its lines grow long', async () => {
    const list = Array.from({ length: 10 }, (_, i) => draft(0, i, 'x'.repeat(400_000)));
    expect((await segmentsOf(list)).map(({ count }) => count)).toEqual([3, 3, 3, 1]);
  });

  it('gives each shard the options of its executor, and an id that hangs on them', async () => {
    const context = { workspace: {} as Workspace };
    const made = makeSegments(fromList, [draft(0, 0)], content, context, { depth: 2 });
    const segment = (await made.next()).value as SegmentDraft;
    const inputs = { i: 0, text: '', options: { depth: 2 } };
    expect(parseShardLines(segment.lines)[0]!.inputs).toBe(canonicalJson(inputs));
    expect(digestOf(segment.cas)).toEqual(casId({ ...content, ...draft(0, 0), inputs }));
    const bare = { ...draft(0, 0), inputs: ['no object'] };
    const unfit = makeSegments(fromList, [bare], content, context, { depth: 2 });
    await expect(unfit.next()).rejects.toThrow('only inputs that are an object can carry');
  });

  it('makes none of nothing', async () => {
    expect(await segmentsOf([])).toEqual([]);
  });

  it('does not swallow what the partitioner throws', async () => {
    const failing: Partitioner<null> = {
      name: 'failing',
      parse: () => null,
      async *partition() {
        yield draft(0, 0);
        throw new Error('the disk is gone');
      },
    };
    const made = makeSegments(failing, null, content, { workspace: {} as Workspace });
    await expect(made.next()).rejects.toThrow('the disk is gone');
  });
});
