import {
  block_shards,
  blockOf,
  parseResults,
  RowUnreadable,
  type ResultRow,
  type ReusableResult,
} from '#hxo';
import type { ReuseEntity } from './entities.js';
import { SqlitePlanReader } from './sqlite-reader.js';

/** What is kept, in blocks and in characters of their lines. The largest blocks have 16 Mi of them. */
const blocks_max = 16;
const blocks_length_max = 64 * 2 ** 20;

interface Block {
  readonly results: ReadonlyMap<number, ResultRow>;
  readonly length: number;
}

/** Finds results of certified plans by their content ids. */
export class ReuseReader extends SqlitePlanReader {
  /** Blocks of results of certified plans, which change no more, those looked into last at the end. */
  private readonly blocks = new Map<string, Block>();
  private length = 0;

  find(cas: Uint8Array): ReusableResult | null {
    const at = this.sql(
      'SELECT reuse.* FROM reuse JOIN certificate USING (plan_no, revision) WHERE cas = ?',
    ).get(cas) as ReuseEntity | undefined;
    const result = at === undefined ? undefined : this.certifiedResult(at);
    if (at === undefined || result?.status !== 'done') return null;
    return { ...result, source_plan_no: result.source_plan_no ?? at.plan_no };
  }

  /** Undefined, too, for a row that is damaged: work that cannot be reused is done again. */
  private certifiedResult(at: ReuseEntity): ResultRow | undefined {
    try {
      return this.block(at).get(at.ordinal);
    } catch (error) {
      if (error instanceof RowUnreadable) return undefined;
      throw error;
    }
  }

  /** The results around a shard. Plans that are submitted again ask for one after the other. */
  private block({ plan_no, revision, stage_no, ordinal }: ReuseEntity): ReadonlyMap<number, ResultRow> {
    const block = blockOf(ordinal);
    const name = `${plan_no}/${revision}/${stage_no}/${block}`;
    const known = this.blocks.get(name);
    if (known !== undefined) {
      this.blocks.delete(name);
      this.blocks.set(name, known);
      return known.results;
    }
    const read = this.read(plan_no, revision, stage_no, block * block_shards);
    this.length += read.length;
    for (const [oldest, { length }] of this.blocks) {
      if (this.blocks.size < blocks_max && this.length <= blocks_length_max) break;
      this.blocks.delete(oldest);
      this.length -= length;
    }
    this.blocks.set(name, read);
    return read.results;
  }

  private read(plan_no: number, revision: number, stage_no: number, from: number): Block {
    const results = new Map<number, ResultRow>();
    let length = 0;
    for (const batch of this.resultBatches(plan_no, revision, stage_no, from, from + block_shards)) {
      for (const row of parseResults(batch)) results.set(row.ordinal, row);
      length += batch.lines.length;
    }
    return { results, length };
  }
}
