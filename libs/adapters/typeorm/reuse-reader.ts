import { block_shards, blockOf, RowUnreadable, type ResultRow, type ReusableResult } from '#hxo';
import type { ReuseEntity } from './entities.js';
import { SqlitePlanReader } from './sqlite-reader.js';

const blocks_max = 16;

/** Finds results of certified plans by their content ids. */
export class ReuseReader extends SqlitePlanReader {
  /** Blocks of results of certified plans, which change no more, those looked into last at the end. */
  private readonly blocks = new Map<string, ReadonlyMap<number, ResultRow>>();

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
    let results = this.blocks.get(name);
    if (results === undefined) {
      const from = block * block_shards;
      const rows = this.results(plan_no, revision, stage_no, from, from + block_shards);
      results = new Map(Array.from(rows, (row) => [row.ordinal, row]));
      if (this.blocks.size === blocks_max) this.blocks.delete(this.blocks.keys().next().value!);
    }
    this.blocks.delete(name);
    this.blocks.set(name, results);
    return results;
  }
}
