import type { KeyObject } from 'node:crypto';
import { verifyDocument } from '#truth';

/** Which fields of a report its certificate vouches for. A list's elements are written `[]`: `stages[].output`. */
export interface SignedFields {
  readonly signed: readonly string[];
  /** Whoever hands the report on could have changed these. A field stands for all that is below it. */
  readonly unsigned: readonly string[];
}

/**
 * Tells the fields of a verified report that its certificate covers from the others, by asking: a report that lacks a
 * covered field does not verify.
 *
 * @param text a report, as JSON, that `trusted` keys verify
 */
export function signedFieldsOf(text: string, trusted: readonly KeyObject[]): SignedFields {
  const report = JSON.parse(text) as Record<string, unknown>;
  const found: { signed: string[]; unsigned: string[] } = { signed: [], unsigned: [] };
  const sort = (holders: readonly object[], prefix: string): void => {
    for (const name of new Set(holders.flatMap((holder) => Object.keys(holder)))) {
      const field = prefix + name;
      // The certificate is what signs.
      if (field === 'certificate') continue;
      const values = holders.map((holder) => (holder as Record<string, unknown>)[name]);
      if (verifiesWithout(holders, name)) {
        found.unsigned.push(field);
        continue;
      }
      const inside = values.flat().filter((value) => typeof value === 'object' && value !== null);
      if (inside.length === 0) found.signed.push(field);
      else sort(inside, `${field}${values.some(Array.isArray) ? '[]' : ''}.`);
    }
  };
  const verifiesWithout = (holders: readonly object[], name: string): boolean => {
    const lacking = new Set(holders);
    const json = JSON.stringify(report, function (this: object, key, value: unknown) {
      return key === name && lacking.has(this) ? undefined : value;
    });
    return verifyDocument(json, trusted).ok;
  };
  sort([report], '');
  return found;
}
