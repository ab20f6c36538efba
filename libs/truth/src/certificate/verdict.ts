import type { KeyObject } from 'node:crypto';
import type { Digest } from '../digest.js';
import { EnvelopeError } from './dsse.js';
import { ShapeError } from './shape.js';
import { readCertificate, type Certificate, type PlanPredicate } from './statement.js';

/** One thing that was checked. */
export interface Check {
  /** `signature`, `certificate`, `leaf`, `path`, or the path of a report's field. */
  readonly name: string;
  readonly ok: boolean;
  /** What was found, in words. */
  readonly detail: string;
}

/** What verifying a document came to. Ids, root and key are those of the verified certificate only. */
export interface Verdict {
  /** True when every check passed. */
  readonly ok: boolean;
  readonly kind: 'report' | 'certificate' | 'receipt' | 'unknown';
  readonly plan_id?: string;
  readonly root?: Digest;
  readonly key_id?: Digest;
  readonly checks: readonly Check[];
}

/** Verifies a certificate; `check` may add checks of the document around it, against what it says. */
export function verdictOn(
  kind: 'report' | 'certificate' | 'receipt',
  envelope: unknown,
  trusted: readonly KeyObject[],
  check: (certificate: Certificate) => readonly Check[] = () => [],
): Verdict {
  let certificate: Certificate;
  try {
    certificate = readCertificate(envelope, trusted);
  } catch (error) {
    if (error instanceof EnvelopeError) return failedVerdict(kind, 'signature', error.message);
    if (error instanceof ShapeError) return failedVerdict(kind, 'certificate', error.message);
    throw error;
  }
  const { predicate, key_id } = certificate;
  const checks: Check[] = [
    { name: 'signature', ok: true, detail: `Signed by the trusted key ${key_id}.` },
    { name: 'certificate', ok: true, detail: summaryOf(predicate) },
    ...check(certificate),
  ];
  const ok = checks.every((one) => one.ok);
  return { ok, kind, plan_id: predicate.plan_id, root: predicate.tree.root, key_id, checks };
}

/** A verdict that ends with its first check. */
export function failedVerdict(kind: Verdict['kind'], name: string, detail: string): Verdict {
  return { ok: false, kind, checks: [{ name, ok: false, detail }] };
}

function summaryOf({
  plan_id,
  plan_name,
  revision,
  phase,
  counts,
  stages,
  verification,
}: PlanPredicate): string {
  const truncated = stages.reduce((sum, stage) => sum + (stage.truncated ?? 0), 0);
  return (
    `Plan ${plan_id} (${JSON.stringify(plan_name)}, revision ${revision}) ${phase}: ${counts.done} of ${counts.total} ` +
    `shards done (${counts.reused} reused), ${counts.failed} failed, ${counts.skipped} skipped, ` +
    `${truncated} items truncated. Checked before signing: ${verification.statement}`
  );
}
