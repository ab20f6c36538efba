import { sha256, type Digest } from '#truth';
import { parseOutcomes, printOutcomes } from '../execute/outcome-lines.js';
import type { Outcome } from '../execute/transport.js';
import { RowUnreadable, type ResultBatch, type ResultRow } from './checkpoint-store.js';

/**
 * Results are stored together: a row holds what was accepted together of one block of ordinals, as the lines of
 * outcome-lines.ts. So a million quick shards are some thousand rows, and the row of a shard is found by its block.
 */
export const block_shards = 256;

/** The block of an ordinal. */
export function blockOf(ordinal: number): number {
  return Math.floor(ordinal / block_shards);
}

/** What the results of a row have in common. */
export type ResultOrigin = Pick<ResultBatch, 'attempt' | 'source_plan_no' | 'worker' | 'finished_at'>;

/** The rows for results that are accepted together. */
export function resultBatches(
  stage_no: number,
  origin: ResultOrigin,
  outcomes: readonly Outcome[],
): ResultBatch[] {
  const sorted = [...outcomes].sort((a, b) => a.ordinal - b.ordinal);
  const batches: ResultBatch[] = [];
  for (let from = 0; from < sorted.length;) {
    const first_ordinal = sorted[from]!.ordinal;
    let to = from + 1;
    while (to < sorted.length && blockOf(sorted[to]!.ordinal) === blockOf(first_ordinal)) to++;
    const block = sorted.slice(from, to);
    const failed = block.filter(({ status }) => status === 'failed').length;
    const lines = printOutcomes(block);
    batches.push({ stage_no, first_ordinal, count: block.length, failed, ...origin, lines });
    from = to;
  }
  return batches;
}

/** The results of a row, in the order of their ordinals. Throws {@link RowUnreadable}. */
export function parseResults(batch: ResultBatch): ResultRow[] {
  const { stage_no, first_ordinal, attempt, source_plan_no, worker, finished_at } = batch;
  const damaged = (column: string): RowUnreadable =>
    new RowUnreadable('result', { stage_no, ordinal: first_ordinal }, column);
  let outcomes: Outcome[];
  try {
    outcomes = parseOutcomes(batch.lines);
  } catch {
    throw damaged('lines');
  }
  if (outcomes.length !== batch.count || outcomes[0]?.ordinal !== first_ordinal)
    throw damaged('first_ordinal, count or lines');
  return outcomes.map((outcome) => ({
    ordinal: outcome.ordinal,
    attempt,
    status: outcome.status,
    declared_output: outcome.status === 'done' ? outcome.digest : null,
    value: outcome.status === 'done' ? outcome.value : failureValue(outcome),
    artifacts: outcome.status === 'done' ? outcome.artifacts : [],
    source_plan_no,
    worker,
    duration_ms: outcome.duration_ms,
    finished_at,
  }));
}

/** The digest of a done shard's output. */
export function outputDigest(result: Pick<ResultRow, 'declared_output' | 'value'>): Digest {
  return result.declared_output ?? sha256(result.value);
}

function failureValue({ code, message }: Extract<Outcome, { status: 'failed' }>): string {
  return JSON.stringify({ code, message });
}
