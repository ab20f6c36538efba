import type { KeyObject } from 'node:crypto';
import { counted, verifyStore, type StoreVerdict } from '#hxo';
import { createArtifactStore } from '#adapters/files';
import { openPlanReader } from '#adapters/typeorm/reader';

/**
 * Checks a checkpoint store and its artifacts against their certificates. Reads only, so a server may be running on them.
 * Never throws for what it finds: a store that cannot be opened or read is a finding too.
 */
export async function checkStore(
  db_path: string,
  artifacts_dir: string,
  trusted: readonly KeyObject[],
): Promise<StoreVerdict> {
  if (trusted.length === 0) {
    return unverified(
      'key',
      'No trusted key was given, so nothing vouches for the store. Give one with --key.',
    );
  }
  let reader: ReturnType<typeof openPlanReader>;
  try {
    reader = openPlanReader(db_path);
  } catch (error) {
    return unverified('store', `${db_path} cannot be opened: ${(error as Error).message}.`);
  }
  try {
    return await verifyStore(reader, createArtifactStore(artifacts_dir), trusted);
  } catch (error) {
    return unverified('store', `${db_path} cannot be read: ${(error as Error).message}`);
  } finally {
    reader.close();
  }
}

/** A line for each finding, and the conclusion. */
export function storeVerdictText({ ok, plans, rows, artifacts, findings }: StoreVerdict): string {
  const found = findings.map(({ plan_id, what, detail }) =>
    plan_id === null ? `FAILED  ${what}: ${detail}` : `FAILED  plan ${plan_id}, ${what}: ${detail}`,
  );
  const conclusion = ok
    ? `Verified: ${counted(plans, 'certified plan')}, ${counted(rows, 'row')} and ${counted(artifacts, 'artifact')} are as they were signed.`
    : 'NOT verified: do not trust this store.';
  return [...found, conclusion].join('\n');
}

function unverified(what: string, detail: string): StoreVerdict {
  return { ok: false, plans: 0, rows: 0, artifacts: 0, findings: [{ plan_id: null, what, detail }] };
}
