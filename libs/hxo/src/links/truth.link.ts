import {
  certifyPlan,
  hash_bytes,
  rawPublicKey,
  readCertificate,
  type Json,
  type PlanPredicate,
  type SigningKey,
} from '#truth';
import { tallyOf, type Seal } from '../aggregate/seal-plan.js';
import type {
  CertificateRow,
  PlanRow,
  StageRow,
  StoredEvent,
  Transaction,
} from '../checkpoint/checkpoint-store.js';
import { utcSeconds, type Clock } from '../clock.js';
import type { AuditView } from '../views.js';
import type { GenesisLink } from './genesis.link.js';

/** Signs what a plan came to, and keeps the audit trail. */
export class TruthLink {
  constructor(
    private readonly key: SigningKey,
    private readonly genesis: GenesisLink,
    private readonly clock: Clock,
    private readonly hxo_version: string,
  ) {}

  /** Base64 of the raw public key that verifies this server's certificates. */
  publicKey(): string {
    return rawPublicKey(this.key.publicKey).toString('base64');
  }

  /**
   * Signs a plan's certificate and verifies it again from the signed bytes. Throws when the result would not verify.
   */
  certify(
    plan: PlanRow,
    stages: readonly StageRow[],
    seal: Seal,
    phase: 'succeeded' | 'failed',
    finished_at: number,
  ): CertificateRow {
    const predicate = predicateOf(plan, stages, seal, phase, finished_at, this.hxo_version);
    const envelope = certifyPlan(predicate, this.key);
    const { key_id } = readCertificate(envelope, [this.key.publicKey]);
    return {
      envelope: envelope as unknown as Json,
      key_id,
      public_key: this.publicKey(),
      leaves: seal.leaves,
      records: seal.records,
    };
  }

  /** Appends to the audit trail, with its event, in the transaction of what it tells of. */
  audit(tx: Transaction, entry: Omit<AuditView, 'seq' | 'time'>): StoredEvent[] {
    const { plan_id, ...told } = entry;
    const seq = tx.appendAudit({ ...entry, time: this.clock.now_ms() });
    return tx.appendEvents(this.genesis.event('hxo.audit', plan_id, { seq, ...told }));
  }
}

function predicateOf(
  plan: PlanRow,
  stages: readonly StageRow[],
  seal: Seal,
  phase: 'succeeded' | 'failed',
  finished_at: number,
  hxo_version: string,
): PlanPredicate {
  return {
    v: 1,
    plan_id: plan.plan_id,
    plan_name: plan.spec.name,
    revision: plan.revision,
    spec_digest: plan.spec_digest,
    phase,
    tree: seal.tree,
    records: { digest: seal.records.digest, count: seal.records.bytes / hash_bytes },
    counts: tallyOf(seal),
    stages: stages.map((stage, i) => {
      const { id, kind, partitioner, executor } = plan.spec.stages[i]!;
      return {
        id,
        kind,
        partitioner,
        executor,
        executor_version: stage.executor_version,
        ...seal.stages[i]!,
        matched: stage.matched,
        taken: stage.taken,
        truncated: stage.truncated,
        output: stage.output?.digest ?? null,
        artifacts: stage.output?.artifacts ?? [],
      };
    }),
    verification: {
      statement: verification_statement,
      root_recomputed: true,
      artifacts_rehashed: seal.artifacts_rehashed,
    },
    versions: { hxo: hxo_version, node: process.versions.node },
    started_at: utcSeconds(plan.started_at!),
    finished_at: utcSeconds(finished_at),
  };
}

/** What stands behind a certificate of this version; also in every report. */
export const verification_statement =
  'The root was computed from the stored rows, the stored shards were hashed again, and stage artifacts ' +
  'were hashed again. Shard artifacts were hashed when they were stored, not again; no shard was executed again.';
