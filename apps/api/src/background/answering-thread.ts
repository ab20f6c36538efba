/** The script of the background thread that reads whole plans and artifacts, so that the event loop never waits for it. */
import { buffer } from 'node:stream/consumers';
import { workerData } from 'node:worker_threads';
import { makeReceipt, readPublicKey, type Digest, type Envelope } from '#truth';
import { gatherResults, HashedAhead, sealPlan, type PlanKey, type ReceiptOrder } from '#hxo';
import { serveBackground } from '#adapters/background';
import { createArtifactStore } from '#adapters/files';
import { openPlanReader, WalCheckpointer } from '#adapters/typeorm/reader';
import type { BackgroundOptions } from './options.js';

const { db_path, artifacts_dir } = workerData as BackgroundOptions;
const artifacts = createArtifactStore(artifacts_dir);
const reader = openPlanReader(db_path);
const ahead = new HashedAhead();
const checkpointer = new WalCheckpointer(db_path);

async function verifyArtifacts(digests: readonly Digest[]): Promise<unknown> {
  const missing: Digest[] = [];
  const corrupt: Digest[] = [];
  for (const digest of digests) {
    const state = await artifacts.verify(digest);
    if (state === 'missing') missing.push(digest);
    if (state !== 'corrupt') continue;
    await artifacts.quarantine(digest);
    corrupt.push(digest);
  }
  return { missing, corrupt };
}

async function receipt({ leaf, index, leaves, certificate, public_key }: ReceiptOrder): Promise<unknown> {
  const hashes = await buffer(await artifacts.open(leaves));
  const envelope = certificate as unknown as Envelope;
  return makeReceipt({ leaf, index, leaves: hashes, certificate: envelope }, [readPublicKey(public_key)]);
}

serveBackground({
  verifyArtifacts: (digests) => verifyArtifacts(digests as readonly Digest[]),
  gatherResults: (order) => {
    const { stage_no, ...plan } = order as PlanKey & { readonly stage_no: number };
    return gatherResults(reader, artifacts, plan, stage_no);
  },
  hashAhead: async (plan) => ahead.advance(reader, plan as PlanKey),
  checkpointStore: async () => checkpointer.checkpoint(),
  sealPlan: (plan) => sealPlan(reader, artifacts, plan as PlanKey, ahead),
  makeReceipt: (order) => receipt(order as ReceiptOrder),
});
