import type { KeyObject } from 'node:crypto';
import { parseStrictJson, type JsonRules, type StrictJsonError } from '../strict-json.js';
import { checkReceipt } from './receipt.js';
import { checkReport } from './report.js';
import { isObject } from './shape.js';
import { failedVerdict, verdictOn, type Verdict } from './verdict.js';

/** A report holds what executors have returned, whatever its names and texts. */
const document_rules: JsonRules = { subject: 'The text', depth_max: 500, any_text: true };

/**
 * Verifies a document without any server: a plan's report, its certificate, or the receipt of one shard; which of
 * them it is shows from its fields. Only `trusted` keys count: without any, the verdict is a failure.
 *
 * Takes anything: malformed input gives a failed verdict that says what is wrong, never an exception.
 */
export function verifyDocument(text: string, trusted: readonly KeyObject[]): Verdict {
  let document: unknown;
  try {
    // Of a key that is given twice, each reader may take another value: what is verified must be what everybody reads.
    document = parseStrictJson(text.replace(/^\ufeff/, ''), document_rules);
  } catch (error) {
    const why = (error as StrictJsonError).message;
    return failedVerdict('unknown', 'document', `This is not JSON as HXO writes it: ${why}`);
  }
  if (isObject(document)) {
    if (typeof document.type === 'string' && document.type.startsWith('hxo-receipt/')) {
      return checkReceipt(document, trusted);
    }
    if ('payload' in document && 'signatures' in document) return verdictOn('certificate', document, trusted);
    if ('plan_id' in document && 'certificate' in document) {
      return document.certificate === null
        ? failedVerdict('report', 'certificate', whyUncertified(document))
        : checkReport(document, trusted);
    }
  }
  return failedVerdict(
    'unknown',
    'document',
    'This is no report (an object with plan_id and certificate), no certificate (a DSSE envelope with payload and ' +
      'signatures) and no receipt (type hxo-receipt/v1).',
  );
}

function whyUncertified(report: Record<string, unknown>): string {
  return report.final === true
    ? 'The plan ended without a certificate, so nothing in this report can be verified.'
    : 'The plan has not ended, so there is no certificate yet: fetch the report again when it has.';
}
