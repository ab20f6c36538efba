import type { KeyObject } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import {
  canonicalJson,
  hash_bytes,
  merkleRoot,
  readCertificate,
  sha256,
  type Digest,
  type PlanPredicate,
} from '#truth';
import type { CertificateRow, PlanReader, PlanRow } from '../checkpoint/checkpoint-store.js';
import type { ArtifactStore } from '../execute/artifact-store.js';
import { readPlanTrees } from './plan-trees.js';

/** Something in a store that is not what its certificate vouches for. */
export interface StoreFinding {
  readonly plan_id: string;
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
 * Checks a whole store against its certificates: signatures by a trusted key, every column of every row of segments and
 * results, every artifact's bytes. Reads only.
 */
export async function verifyStore(
  reader: PlanReader,
  artifacts: Pick<ArtifactStore, 'open' | 'verify'>,
  trusted: readonly KeyObject[],
): Promise<StoreVerdict> {
  const findings: StoreFinding[] = [];
  const checked = new Map<Digest, 'ok' | 'missing' | 'corrupt'>();
  let rows = 0;
  const plans = reader.certifiedPlans();
  for (const plan of plans) {
    const find = (what: string, detail: string): void =>
      void findings.push({ plan_id: plan.plan_id, what, detail });
    const certificate = reader.certificate(plan.plan_no, plan.revision)!;
    let predicate: PlanPredicate;
    try {
      ({ predicate } = readCertificate(certificate.envelope, trusted));
    } catch (error) {
      find('certificate', (error as Error).message);
      continue;
    }
    rows += await checkRows(reader, artifacts, plan, certificate, predicate, find);
    for (const { digest, owner } of artifactsOf(reader, plan, certificate)) {
      const state = checked.get(digest) ?? (await artifacts.verify(digest));
      checked.set(digest, state);
      if (state !== 'ok') find(`artifact ${digest}`, `The bytes of ${owner} are ${state}.`);
    }
  }
  return { ok: findings.length === 0, plans: plans.length, rows, artifacts: checked.size, findings };
}

type Find = (what: string, detail: string) => void;

async function checkRows(
  reader: PlanReader,
  artifacts: Pick<ArtifactStore, 'open'>,
  plan: PlanRow,
  certificate: CertificateRow,
  certified: PlanPredicate,
  find: Find,
): Promise<number> {
  checkPlanRow(reader, plan, certified, find);
  const trees = readPlanTrees(reader, plan);
  for (const damage of trees.damage) find(damage.split(':')[0]!, `${damage}.`);
  const names = recordNames(reader, plan);
  const altered = await compareLeaves(
    trees.records,
    certificate.records.digest,
    certified.records.root,
    artifacts,
  );
  for (const index of altered ?? [])
    find(names[index] ?? `record ${index}`, 'The row is not the one that was certified.');
  if (altered === null)
    find('records', 'Rows are not those that were certified, and the list that would name them is damaged.');
  if (merkleRoot(trees.leaves) !== certified.tree.root && altered?.length === 0) {
    find('tree', 'The shards or stage outputs do not give the certified root.');
  }
  return names.length;
}

/** The columns of plan and stage rows that the certificate covers. */
function checkPlanRow(reader: PlanReader, plan: PlanRow, certified: PlanPredicate, find: Find): void {
  const mine: Record<string, unknown> = {
    plan_id: plan.plan_id,
    plan_name: plan.spec.name,
    phase: plan.phase,
    revision: plan.revision,
    spec_digest: sha256(canonicalJson(plan.spec)),
    root: plan.root,
  };
  const theirs: Record<string, unknown> = { ...certified, root: certified.tree.root };
  for (const [column, value] of Object.entries(mine)) {
    if (value !== theirs[column])
      find('plan row', `Its ${column} is ${String(value)}, certified is ${String(theirs[column])}.`);
  }
  for (const [i, stage] of reader.stages(plan.plan_no).entries()) {
    const said = certified.stages[i];
    for (const column of [
      'total',
      'done',
      'reused',
      'failed',
      'skipped',
      'matched',
      'taken',
      'truncated',
      'executor_version',
    ] as const) {
      if (stage[column] !== said?.[column]) {
        find(
          `stage row ${said?.id ?? i}`,
          `Its ${column} is ${stage[column]}, certified is ${said?.[column]}.`,
        );
      }
    }
    const output = { digest: stage.output?.digest ?? null, artifacts: stage.output?.artifacts ?? [] };
    if (
      canonicalJson(output) !==
      canonicalJson({ digest: said?.output ?? null, artifacts: said?.artifacts ?? [] })
    ) {
      find(`stage row ${said?.id ?? i}`, 'Its output is not the certified one.');
    }
  }
}

/** Indexes of the leaves that differ from the certified ones; null when the certified ones cannot be read. */
async function compareLeaves(
  mine: Buffer,
  stored: Digest,
  root: Digest,
  artifacts: Pick<ArtifactStore, 'open'>,
): Promise<number[] | null> {
  if (merkleRoot(mine) === root) return [];
  const theirs = await artifacts.open(stored).then(buffer, () => null);
  if (theirs === null || theirs.length % hash_bytes !== 0 || merkleRoot(theirs) !== root) return null;
  const different: number[] = [];
  for (let at = 0; at < Math.max(mine.length, theirs.length); at += hash_bytes) {
    const same = mine.subarray(at, at + hash_bytes).equals(theirs.subarray(at, at + hash_bytes));
    if (!same) different.push(at / hash_bytes);
  }
  return different;
}

/** Names of the record tree's leaves, in its order. */
function recordNames(reader: PlanReader, plan: PlanRow): string[] {
  const names: string[] = [];
  plan.spec.stages.forEach((stage, stage_no) => {
    for (const { first_ordinal, count } of reader.segments(plan.plan_no, stage_no)) {
      names.push(`segment ${first_ordinal}-${first_ordinal + count - 1} of stage ${stage.id}`);
    }
    for (const { ordinal } of reader.results(plan.plan_no, plan.revision, stage_no)) {
      names.push(`result ${ordinal} of stage ${stage.id}`);
    }
  });
  return names;
}

function* artifactsOf(
  reader: PlanReader,
  plan: PlanRow,
  certificate: CertificateRow,
): Generator<{ readonly digest: Digest; readonly owner: string }> {
  for (const [stage_no, stage] of reader.stages(plan.plan_no).entries()) {
    const id = plan.spec.stages[stage_no]!.id;
    for (const result of reader.results(plan.plan_no, plan.revision, stage_no)) {
      for (const { digest } of result.artifacts)
        yield { digest, owner: `shard ${result.ordinal} of stage ${id}` };
    }
    for (const { digest, name } of stage.output?.artifacts ?? []) yield { digest, owner: `${id}/${name}` };
  }
  yield { digest: certificate.leaves.digest, owner: 'the list of leaves' };
  yield { digest: certificate.records.digest, owner: 'the list of records' };
}
