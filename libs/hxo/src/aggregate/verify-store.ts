import type { KeyObject } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import {
  canonicalJson,
  hash_bytes,
  merkleRoot,
  readCertificate,
  sha256,
  type Digest,
  type Envelope,
  type PlanPredicate,
} from '#truth';
import {
  RowUnreadable,
  type CertificateRow,
  type PlanReader,
  type PlanRow,
} from '../checkpoint/checkpoint-store.js';
import type { ArtifactStore } from '../execute/artifact-store.js';
import { errorOf } from './certify-plan.js';
import { readPlanTrees } from './plan-trees.js';
import { resultName, segmentName } from './stage-hasher.js';

/** Something in a store that is not what its certificate vouches for. */
export interface StoreFinding {
  /** Null when it concerns the store as a whole. */
  readonly plan_id: string | null;
  /** What is wrong, by name: `result 17 of stage pack`, `artifact 3fb0…`. */
  readonly what: string;
  readonly detail: string;
}

export interface StoreVerdict {
  readonly ok: boolean;
  readonly plans: number;
  readonly rows: number;
  readonly artifacts: number;
  readonly findings: readonly StoreFinding[];
}

/**
 * Checks a whole store against its certificates: signatures by a trusted key, every column of the rows of plans, stages,
 * segments, results and certificates, every artifact's bytes. Reads only.
 */
export async function verifyStore(
  reader: PlanReader,
  artifacts: Pick<ArtifactStore, 'open' | 'verify'>,
  trusted: readonly KeyObject[],
): Promise<StoreVerdict> {
  const findings: StoreFinding[] = [];
  const checked = new Map<Digest, 'ok' | 'missing' | 'corrupt'>();
  let rows = 0;
  const keys = reader.certifiedPlans();
  for (const key of keys) {
    const certified = readCertified(reader, key, trusted);
    const plan_id = certified.plan?.plan_id ?? certified.predicate?.plan_id ?? null;
    const find = (what: string, detail: string): void => void findings.push({ plan_id, what, detail });
    for (const { what, detail } of certified.findings) find(what, detail);
    const { plan, certificate, predicate } = certified;
    if (plan === null || certificate === null || predicate === null) continue;
    try {
      rows += await checkRows(reader, artifacts, plan, predicate, find);
      for (const { digest, owner } of artifactsOf(reader, plan, certificate)) {
        const state = checked.get(digest) ?? (await artifacts.verify(digest));
        checked.set(digest, state);
        if (state !== 'ok') find(`artifact ${digest}`, `The bytes of ${owner} are ${state}.`);
      }
    } catch (error) {
      // Whoever altered a row may have left it in a form that cannot even be read.
      find(unreadableName(error, plan), `The rows after it were not checked. ${(error as Error).message}`);
    }
  }
  return { ok: findings.length === 0, plans: keys.length, rows, artifacts: checked.size, findings };
}

type Find = (what: string, detail: string) => void;

/** A plan and what was certified of it, each null when that cannot be had; then a finding says why. */
interface Certified {
  plan: PlanRow | null;
  certificate: CertificateRow | null;
  predicate: PlanPredicate | null;
  readonly findings: Omit<StoreFinding, 'plan_id'>[];
}

function readCertified(
  reader: PlanReader,
  { plan_no, revision }: { readonly plan_no: number; readonly revision: number },
  trusted: readonly KeyObject[],
): Certified {
  const read: Certified = { plan: null, certificate: null, predicate: null, findings: [] };
  const find: Find = (what, detail) => void read.findings.push({ what, detail });
  try {
    read.plan = reader.planByNo(plan_no);
    if (read.plan === null)
      find('plan row', `The row of plan number ${plan_no} is gone; its certificate is here.`);
  } catch (error) {
    find('plan row', (error as Error).message);
  }
  try {
    read.certificate = reader.certificate(plan_no, revision);
    if (read.certificate === null) find('certificate', 'The certificate that vouches for the plan is gone.');
    else read.predicate = checkCertificate(read.certificate, trusted, find);
  } catch (error) {
    find('certificate', (error as Error).message);
  }
  return read;
}

/** Verifies the envelope, then the columns beside it. Throws when no trusted key has signed the envelope. */
function checkCertificate(row: CertificateRow, trusted: readonly KeyObject[], find: Find): PlanPredicate {
  const { predicate, key_id, public_key } = readCertificate(row.envelope, trusted);
  const { payloadType, payload, signatures } = row.envelope as unknown as Envelope;
  const signed = { payloadType, payload, signatures: [{ keyid: key_id, sig: signatures[0]!.sig }] };
  if (canonicalJson(row.envelope) !== canonicalJson(signed))
    find('certificate', 'Its envelope holds more than was signed.');
  if (row.key_id !== key_id || row.public_key !== public_key)
    find('certificate', 'Its row does not name the key that signed it.');
  const { tree, records } = predicate;
  if (row.leaves.bytes !== tree.size * hash_bytes || row.records.bytes !== records.count * hash_bytes)
    find('certificate', 'Its row does not give the sizes of the certified lists.');
  if (row.records.digest !== records.digest)
    find('certificate', 'Its row does not name the certified list of records.');
  return predicate;
}

function unreadableName(error: unknown, plan: PlanRow): string {
  if (!(error instanceof RowUnreadable)) return 'rows';
  const stage = plan.spec.stages[error.at.stage_no ?? -1]?.id ?? `number ${error.at.stage_no}`;
  return error.table === 'stage'
    ? `stage row ${stage}`
    : `${error.table} ${error.at.ordinal} of stage ${stage}`;
}

async function checkRows(
  reader: PlanReader,
  artifacts: Pick<ArtifactStore, 'open'>,
  plan: PlanRow,
  certified: PlanPredicate,
  find: Find,
): Promise<number> {
  checkPlanRow(plan, certified, find);
  const trees = readPlanTrees(reader, plan);
  for (const damage of trees.damage) find(damage.split(':')[0]!, `${damage}.`);
  const records = trees.records.bytes();
  if (sha256(records) !== certified.records.digest) {
    const theirs = await readRecords(certified.records.digest, artifacts);
    nameDifferences(records, theirs, recordNames(reader, plan), find);
  } else if (merkleRoot(trees.leaves.parts()) !== certified.tree.root) {
    find('tree', 'The shards or stage outputs do not give the certified root.');
  }
  return records.length / hash_bytes;
}

function nameDifferences(mine: Buffer, theirs: Buffer | null, names: readonly string[], find: Find): void {
  if (theirs === null) {
    find('records', 'Rows are not those that were certified, and the list that would name them is damaged.');
    return;
  }
  const { from, altered, gone } = differences(mine, theirs);
  for (const index of altered)
    find(names[index] ?? `record ${index}`, 'The row is not the one that was certified.');
  if (gone > 0) find(`rows after ${names[from - 1] ?? 'the start'}`, `${gone} that were certified are gone.`);
}

/** The columns of a plan's row that are written with its certificate, so that they are not among the records. */
function checkPlanRow(plan: PlanRow, certified: PlanPredicate, find: Find): void {
  const { counts, phase, tree, finished_at, spec_digest } = certified;
  const mine = {
    spec: sha256(canonicalJson(plan.spec)),
    phase: plan.phase,
    finished_at: plan.finished_at,
    error: canonicalJson(plan.error),
    root: plan.root,
  };
  const theirs: Record<keyof typeof mine, unknown> = {
    spec: spec_digest,
    phase,
    finished_at: Date.parse(finished_at),
    error: canonicalJson(errorOf(phase, counts)),
    root: tree.root,
  };
  for (const [column, value] of Object.entries(mine)) {
    const other = theirs[column as keyof typeof mine];
    if (value !== other)
      find('plan row', `Its ${column} is ${String(value)}, certified is ${String(other)}.`);
  }
}

/** The certified records, from the artifact that keeps them; null when it is damaged. */
async function readRecords(digest: Digest, artifacts: Pick<ArtifactStore, 'open'>): Promise<Buffer | null> {
  const records = await artifacts.open(digest).then(buffer, () => null);
  return records === null || sha256(records) !== digest ? null : records;
}

/**
 * Where two lists of leaves part: indexes of mine that are not among theirs, and how many of theirs are gone. Both lists
 * begin and end alike around what was changed, so that a row that is gone does not put all later ones under suspicion.
 */
function differences(
  mine: Buffer,
  theirs: Buffer,
): { readonly from: number; readonly altered: number[]; readonly gone: number } {
  const counts = [mine.length / hash_bytes, theirs.length / hash_bytes] as const;
  const shorter = Math.min(...counts);
  const leaf = (list: Buffer, index: number): Buffer =>
    list.subarray(index * hash_bytes, (index + 1) * hash_bytes);
  let from = 0;
  while (from < shorter && leaf(mine, from).equals(leaf(theirs, from))) from++;
  let tail = 0;
  while (
    tail < shorter - from &&
    leaf(mine, counts[0] - 1 - tail).equals(leaf(theirs, counts[1] - 1 - tail))
  ) {
    tail++;
  }
  const altered: number[] = [];
  for (let index = from; index < counts[0] - tail; index++) {
    if (counts[0] !== counts[1] || !leaf(mine, index).equals(leaf(theirs, index))) altered.push(index);
  }
  return { from, altered, gone: Math.max(0, counts[1] - counts[0]) };
}

/** Names of the records, in their order. */
function recordNames(reader: PlanReader, plan: PlanRow): string[] {
  const names = ['plan row'];
  const rows = new Set(reader.stages(plan.plan_no).map(({ stage_no }) => stage_no));
  plan.spec.stages.forEach((stage, stage_no) => {
    if (!rows.has(stage_no)) return;
    names.push(`stage row ${stage.id}`);
    for (const segment of reader.segments(plan.plan_no, stage_no)) names.push(segmentName(segment, stage));
    for (const batch of reader.resultBatches(plan.plan_no, plan.revision, stage_no))
      names.push(resultName(batch, stage));
  });
  return names;
}

function* artifactsOf(
  reader: PlanReader,
  plan: PlanRow,
  certificate: CertificateRow,
): Generator<{ readonly digest: Digest; readonly owner: string }> {
  for (const stage of reader.stages(plan.plan_no)) {
    const { stage_no } = stage;
    const id = plan.spec.stages[stage_no]?.id ?? `number ${stage_no}`;
    for (const result of reader.results(plan.plan_no, plan.revision, stage_no)) {
      for (const { digest } of result.artifacts)
        yield { digest, owner: `shard ${result.ordinal} of stage ${id}` };
    }
    for (const { digest, name } of stage.output?.artifacts ?? []) yield { digest, owner: `${id}/${name}` };
  }
  yield { digest: certificate.leaves.digest, owner: 'the list of leaves' };
  yield { digest: certificate.records.digest, owner: 'the list of records' };
}
