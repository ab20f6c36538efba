/** The script of the API's background threads: what reads files or whole plans, so that the event loop never waits for it. */
import { buffer } from 'node:stream/consumers';
import { workerData } from 'node:worker_threads';
import { makeReceipt, readPublicKey, type Digest, type Envelope } from '#truth';
import {
  gatherResults,
  HashedAhead,
  makeSegments,
  partitioners,
  sealPlan,
  type PartitionOrder,
  type PlanKey,
  type ReceiptOrder,
  type SearchHits,
  type SearchOrder,
  type SegmentDraft,
} from '#hxo';
import { createDocsSearch, loadPartitioners } from '#executors';
import { serveBackground, type Handler } from '#adapters/background';
import { createArtifactStore, createWorkspace } from '#adapters/files';
import { createTargets, type TargetsOptions } from '#adapters/sql';
import { openPlanReader, WalCheckpointer } from '#adapters/typeorm/reader';

/** What each thread is started with. */
export interface BackgroundOptions {
  readonly db_path: string;
  readonly artifacts_dir: string;
  /** File URLs of further modules, which may bring partitioners. */
  readonly extra_executors: readonly string[];
  readonly workspace: { readonly root: string; readonly forbidden: readonly string[] };
  readonly targets: TargetsOptions;
}

/** Segments sent at a time, and characters of shard lines after which fewer are. */
const part_segments = 8;
const part_chars = 2_000_000;

const {
  db_path,
  artifacts_dir,
  extra_executors,
  workspace: workspace_options,
  targets: target_options,
} = workerData as BackgroundOptions;
const catalogue = new Map(partitioners);
for (const partitioner of await loadPartitioners(extra_executors))
  catalogue.set(partitioner.name, partitioner);
const artifacts = createArtifactStore(artifacts_dir);
const targets = createTargets(target_options);
const reader = openPlanReader(db_path);
const ahead = new HashedAhead();
const checkpointer = new WalCheckpointer(db_path);
const search: (order: SearchOrder) => Promise<SearchHits> = createDocsSearch(artifacts);

async function partition(
  { partitioner: name, config, options, content }: PartitionOrder,
  emit: Parameters<Handler>[1],
  signal: AbortSignal,
): Promise<unknown> {
  const partitioner = catalogue.get(name)!;
  const context = { workspace: createWorkspace(workspace_options, signal), targets };
  const segments = makeSegments(partitioner, partitioner.parse(config), content, context, options);
  let part: SegmentDraft[] = [];
  for (;;) {
    const next = await segments.next();
    if (next.done !== true) part.push(next.value);
    const chars = part.reduce((sum, segment) => sum + segment.lines.length, 0);
    if (part.length > 0 && (next.done === true || part.length === part_segments || chars > part_chars)) {
      await emit(part);
      part = [];
    }
    if (next.done === true) return next.value;
  }
}

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
  partition: (order, emit, signal) => partition(order as PartitionOrder, emit, signal),
  verifyArtifacts: (digests) => verifyArtifacts(digests as readonly Digest[]),
  gatherResults: (order) => {
    const { stage_no, ...plan } = order as PlanKey & { readonly stage_no: number };
    return gatherResults(reader, artifacts, plan, stage_no);
  },
  hashAhead: async (plan) => ahead.advance(reader, plan as PlanKey),
  checkpointStore: async () => checkpointer.checkpoint(),
  sealPlan: (plan) => sealPlan(reader, artifacts, plan as PlanKey, ahead),
  makeReceipt: (order) => receipt(order as ReceiptOrder),
  search: (order) => search(order as SearchOrder),
});
