import { digestOf, hash_bytes, type Digest, type Json } from '#truth';
import type {
  BundleRow,
  CertificateRow,
  PlanId,
  PlanPhase,
  PlanRow,
  PlanSpec,
  ResultBatch,
  Segment,
  StagePhase,
  StageRow,
} from '#hxo';
import { parseRanges, RowUnreadable } from '#hxo';
import type {
  BundleEntity,
  CertificateEntity,
  PlanEntity,
  ResultEntity,
  SegmentEntity,
  StageEntity,
} from './entities.js';

/** Rows of the tables → rows as the engine knows them. The one place that knows both. */

/** In a column of times that takes no NULL: it has not happened. */
export const never = 0;

export function planRow(row: PlanEntity): PlanRow {
  const damaged = damageOf('plan', {});
  return {
    plan_no: row.plan_no,
    plan_id: row.plan_id as PlanId,
    name: row.name,
    spec: parsed(row.spec, 'spec', damaged) as PlanSpec,
    spec_digest: digest(row.spec_digest, 'spec_digest', damaged),
    revision: row.revision,
    phase: row.phase as PlanPhase,
    submitted_at: row.submitted_at === never ? null : row.submitted_at,
    started_at: row.started_at,
    finished_at: row.finished_at,
    error: errorOf(row),
    root: row.root === null ? null : digest(row.root, 'root', damaged),
  };
}

function errorOf({ error_code, error_detail }: PlanEntity): PlanRow['error'] {
  if (error_code === null && error_detail === null) return null;
  return { code: error_code ?? '', detail: error_detail ?? '' };
}

export function stageRow(row: StageEntity): StageRow {
  const damaged = damageOf('stage', { stage_no: row.stage_no });
  return {
    ...row,
    phase: row.phase as StagePhase,
    misses: parsed(row.misses, 'misses', damaged) as StageRow['misses'],
    output: row.output === null ? null : (parsed(row.output, 'output', damaged) as StageRow['output']),
  };
}

export function segmentRow(row: SegmentEntity): Segment {
  const damaged = damageOf('segment', { stage_no: row.stage_no, ordinal: row.first_ordinal });
  if (!Buffer.isBuffer(row.cas) || row.cas.length !== row.count * hash_bytes) throw damaged('cas or count');
  // SQLite keeps any type in any column.
  if (typeof row.lines !== 'string') throw damaged('lines');
  return {
    first_ordinal: row.first_ordinal,
    count: row.count,
    wave: row.wave,
    cas: row.cas,
    lines: row.lines,
    digest: digest(row.digest, 'digest', damaged),
    misses: row.misses,
  };
}

export function bundleRow(row: BundleEntity): BundleRow {
  return {
    bundle: row.bundle,
    stage_no: row.stage_no,
    ordinals: parseRanges(row.ordinals),
    attempt: row.attempt,
    state: row.state as BundleRow['state'],
  };
}

export function resultBatch(row: ResultEntity): ResultBatch {
  const { stage_no, first_ordinal, lines } = row;
  if (typeof lines !== 'string') throw damageOf('result', { stage_no, ordinal: first_ordinal })('lines');
  return row;
}

export function certificateRow(row: CertificateEntity): CertificateRow {
  const damaged = damageOf('certificate', {});
  return {
    envelope: parsed(row.envelope, 'envelope', damaged) as Json,
    key_id: digest(row.key_id, 'key_id', damaged),
    public_key: row.public_key,
    leaves: { digest: digest(row.leaves, 'leaves', damaged), bytes: row.leaves_bytes },
    records: { digest: digest(row.records, 'records', damaged), bytes: row.records_bytes },
  };
}

type Damage = (column: string) => RowUnreadable;

function damageOf(table: RowUnreadable['table'], at: RowUnreadable['at']): Damage {
  return (column) => new RowUnreadable(table, at, column);
}

function parsed(text: string, column: string, damaged: Damage): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw damaged(column);
  }
}

function digest(bytes: Buffer, column: string, damaged: Damage): Digest {
  // SQLite keeps any type in any column: what is no blob has no length of 32 either.
  if (!Buffer.isBuffer(bytes) || bytes.length !== hash_bytes) throw damaged(column);
  return digestOf(bytes);
}
