import { hash } from 'node:crypto';
import { canonicalJson, type Digest } from '#truth';
import type { PlanRow, ResultBatch, Segment, StageRow } from '../checkpoint/checkpoint-store.js';

/** What the records of a plan's rows are: SHA-256 over every column that is final when they are signed, 32 characters for its bytes. */

export function planRecord(plan: PlanRow): string {
  const { plan_no, plan_id, name, spec, spec_digest, revision, submitted_at, started_at } = plan;
  const columns = [plan_no, plan_id, name, spec_digest, revision, submitted_at, started_at];
  return recordHash(JSON.stringify(['plan', ...columns, canonicalJson(spec)]));
}

export function stageRecord(stage: StageRow): string {
  const { stage_no, phase, executor_version, total, done, reused, failed, skipped } = stage;
  const { matched, taken, truncated, misses, started_at, finished_at, output } = stage;
  const columns = [stage_no, phase, executor_version, total, done, reused, failed, skipped];
  const times = [matched, taken, truncated, started_at, finished_at];
  return recordHash(
    JSON.stringify(['stage', ...columns, ...times, canonicalJson(misses), canonicalJson(output)]),
  );
}

/** @param digest of the segment as it is now; its row has the one of when it was made */
export function segmentRecord(segment: Segment, digest: Digest): string {
  return recordHash(JSON.stringify(['segment', segment.digest, digest, segment.misses]));
}

export function resultRecord(batch: ResultBatch): string {
  const { first_ordinal, count, failed, attempt, source_plan_no, worker, finished_at, lines } = batch;
  const columns = [first_ordinal, count, failed, attempt, source_plan_no, worker, finished_at];
  return recordHash(`${JSON.stringify(['result', ...columns])}\n${lines}`);
}

function recordHash(text: string): string {
  return hash('sha256', text, 'binary');
}
