import { Readable } from 'node:stream';
import { merkleRoot, type TreeHead } from '#truth';
import type { PlanKey } from '../background.js';
import type { PlanReader } from '../checkpoint/checkpoint-store.js';
import type { ArtifactRef, ArtifactStore } from '../execute/artifact-store.js';
import type { HashedAhead } from './hashed-ahead.js';
import { readPlanTrees } from './plan-trees.js';
import type { StageTally } from './stage-hasher.js';

/** What a certificate can be made of. */
export interface Seal {
  readonly tree: TreeHead;
  /** Artifact of the flat leaf hashes, which receipts are made from. */
  readonly leaves: ArtifactRef;
  /** Artifact of the flat record hashes, which altered rows are found with. */
  readonly records: ArtifactRef;
  readonly stages: readonly StageTally[];
  /** Artifacts of stages whose bytes were hashed again and agree. */
  readonly artifacts_rehashed: number;
}

/** What all stages of a plan came to together. */
export function tallyOf({ stages }: Pick<Seal, 'stages'>): StageTally {
  const sum = (column: keyof StageTally): number => stages.reduce((all, stage) => all + stage[column], 0);
  return {
    total: sum('total'),
    done: sum('done'),
    reused: sum('reused'),
    failed: sum('failed'),
    skipped: sum('skipped'),
  };
}

/** Thrown when the store or an artifact is not what it was when it was written. No certificate is signed then. */
export class StoreDamaged extends Error {
  override readonly name = 'StoreDamaged';
}

/**
 * Computes a plan's trees from the store and stores their leaves. Re-hashes the artifacts of its stages. Throws
 * {@link StoreDamaged} naming what is wrong; a corrupt artifact is moved aside first, so that the next plan that makes it
 * stores it anew.
 */
export async function sealPlan(
  reader: PlanReader,
  artifacts: ArtifactStore,
  key: PlanKey,
  ahead?: HashedAhead,
): Promise<Seal> {
  const plan = reader.planByNo(key.plan_no)!;
  const trees = readPlanTrees(reader, plan, ahead?.take(plan));
  if (trees.damage.length > 0) throw new StoreDamaged(`The checkpoint store is damaged: ${trees.damage[0]}.`);
  let artifacts_rehashed = 0;
  for (const [i, stage] of reader.stages(key.plan_no).entries()) {
    for (const artifact of stage.output?.artifacts ?? []) {
      const state = await artifacts.verify(artifact.digest);
      if (state === 'corrupt') await artifacts.quarantine(artifact.digest);
      if (state !== 'ok') {
        const name = `${plan.spec.stages[i]!.id}/${artifact.name}`;
        throw new StoreDamaged(`Artifact ${name} (${artifact.digest}) is ${state}.`);
      }
      artifacts_rehashed++;
    }
  }
  const put = (list: typeof trees.leaves): Promise<ArtifactRef> => artifacts.put(Readable.from(list.parts()));
  // Together, since each waits for the disk several times.
  const [leaves, records] = await Promise.all([put(trees.leaves), put(trees.records)]);
  return {
    tree: { root: merkleRoot(trees.leaves.parts()), size: trees.leaves.size },
    leaves,
    records,
    stages: trees.stages,
    artifacts_rehashed,
  };
}
