import { digestBytes, digestOf, type Json } from '#truth';
import type {
  BundleRow,
  CertificateRow,
  PlanId,
  PlanPhase,
  PlanRow,
  PlanSpec,
  ResultRow,
  Segment,
  StagePhase,
  StageRow,
} from '#hxo';
import { parseRanges } from '#hxo';
import type {
  BundleEntity,
  CertificateEntity,
  PlanEntity,
  ResultEntity,
  SegmentEntity,
  StageEntity,
} from './entities.js';

/** Rows of the tables → rows as the engine knows them. The one place that knows both. */

export function planRow(row: PlanEntity): PlanRow {
  return {
    plan_no: row.plan_no,
    plan_id: row.plan_id as PlanId,
    spec: JSON.parse(row.spec) as PlanSpec,
    spec_digest: digestOf(row.spec_digest),
    revision: row.revision,
    phase: row.phase as PlanPhase,
    submitted_at: row.submitted_at,
    started_at: row.started_at,
    finished_at: row.finished_at,
    error: row.error_code === null ? null : { code: row.error_code, detail: row.error_detail ?? '' },
    root: row.root === null ? null : digestOf(row.root),
  };
}

export function stageRow(row: StageEntity): StageRow {
  return {
    ...row,
    phase: row.phase as StagePhase,
    misses: JSON.parse(row.misses) as StageRow['misses'],
    output: row.output === null ? null : (JSON.parse(row.output) as StageRow['output']),
  };
}

export function segmentRow(row: SegmentEntity): Segment {
  return {
    first_ordinal: row.first_ordinal,
    count: row.count,
    wave: row.wave,
    cas: row.cas,
    lines: row.lines,
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

export function resultRow(row: ResultEntity): ResultRow {
  return {
    ordinal: row.ordinal,
    attempt: row.attempt,
    status: row.status as ResultRow['status'],
    declared_output: row.declared_output === null ? null : digestOf(row.declared_output),
    value: row.value,
    artifacts: row.artifacts === null ? [] : (JSON.parse(row.artifacts) as ResultRow['artifacts']),
    source_plan_no: row.source_plan_no,
    worker: row.worker,
    duration_ms: row.duration_us / 1000,
    finished_at: row.finished_at,
  };
}

/** The parameters of a result's INSERT after its four key columns. */
export function resultParameters(result: ResultRow): unknown[] {
  return [
    result.attempt,
    result.status,
    result.declared_output === null ? null : digestBytes(result.declared_output),
    result.value,
    result.artifacts.length === 0 ? null : JSON.stringify(result.artifacts),
    result.source_plan_no,
    result.worker,
    Math.round(result.duration_ms * 1000),
    result.finished_at,
  ];
}

export function certificateRow(row: CertificateEntity): CertificateRow {
  return {
    envelope: JSON.parse(row.envelope) as Json,
    key_id: digestOf(row.key_id),
    public_key: row.public_key,
    leaves: { digest: digestOf(row.leaves), bytes: row.leaves_bytes },
    records: { digest: digestOf(row.records), bytes: row.records_bytes },
  };
}
