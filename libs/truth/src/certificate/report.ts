import type { KeyObject } from 'node:crypto';
import { describe, isObject } from './shape.js';
import type { Certificate, CertifiedCounts } from './statement.js';
import { verdictOn, type Check, type Verdict } from './verdict.js';

/**
 * Verifies a report: its certificate, and that everything which the certificate covers reads the same in the
 * report. Each field that disagrees is named. Never throws on bad input.
 */
export function checkReport(report: Record<string, unknown>, trusted: readonly KeyObject[]): Verdict {
  return verdictOn('report', report.certificate, trusted, (certificate) => {
    const comparison: Comparison = { agreeing: 0, disagreements: [] };
    compare(reportOf(certificate), report, '', comparison);
    if (comparison.disagreements.length > 0) return comparison.disagreements;
    return [
      { name: 'report', ok: true, detail: `${comparison.agreeing} fields agree with the certificate.` },
    ];
  });
}

/** What a true report must say, as far as its certificate covers it. */
function reportOf({ predicate, key_id, public_key }: Certificate): Record<string, unknown> {
  const { plan_id, plan_name, phase, revision, started_at, finished_at, tree, counts, stages } = predicate;
  return {
    plan_id,
    plan_name,
    phase,
    revision,
    started_at,
    finished_at,
    merkle_root: tree.root,
    final: true,
    total_final: true,
    truth_certified: true,
    ...countsOf(counts),
    reuse: { reused: counts.reused },
    signer: { key_id, public_key },
    stages: stages.map(({ id, kind, partitioner, executor, executor_version, ...stage }) => ({
      id,
      kind,
      partitioner,
      executor,
      executor_version,
      ...countsOf(stage),
      matched: stage.matched,
      taken: stage.taken,
      truncated: stage.truncated,
      output: stage.output,
    })),
    outputs: stages
      .filter((stage) => stage.output !== null)
      .map(({ id, output, artifacts }) => ({ stage: id, digest: output, artifacts })),
  };
}

/** The counts of a plan or stage that has ended: nothing is under way, and what is pending was skipped. */
function countsOf({ total, done, reused, failed, skipped }: CertifiedCounts): Record<string, number> {
  return {
    total_shards: total,
    done_shards: done,
    reused_shards: reused,
    failed_shards: failed,
    skipped_shards: skipped,
    pending_shards: skipped,
    retrying_shards: 0,
    claimed_shards: 0,
    running_shards: 0,
  };
}

interface Comparison {
  agreeing: number;
  readonly disagreements: Check[];
}

/** Compares every field of `certified` with the report's. Its depth is bounded by ours, not by the document's. */
function compare(certified: unknown, reported: unknown, at: string, found: Comparison): void {
  if (Array.isArray(certified) && Array.isArray(reported) && certified.length === reported.length) {
    certified.forEach((item, i) => compare(item, reported[i], `${at}[${i}]`, found));
  } else if (isObject(certified) && isObject(reported)) {
    for (const [name, value] of Object.entries(certified)) {
      const own = Object.hasOwn(reported, name) ? reported[name] : undefined;
      compare(value, own, at === '' ? name : `${at}.${name}`, found);
    }
  } else if (certified === reported) {
    found.agreeing++;
  } else {
    const said = reported === undefined ? 'nothing' : describe(reported);
    const detail = `${at} is ${said} in the report and ${describe(certified)} in the certificate.`;
    found.disagreements.push({ name: at, ok: false, detail });
  }
}
