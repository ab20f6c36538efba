import type { KeyObject } from 'node:crypto';
import { canonicalJson } from '../canonical-json.js';
import type { Digest } from '../digest.js';
import { openEnvelope, signEnvelope, type Envelope } from './dsse.js';
import { count, digest, flag, listOf, objectOf, oneOf, orNull, ShapeError, text, time } from './shape.js';
import type { Signer, SigningKey } from './signing-key.js';

export const statement_type = 'https://in-toto.io/Statement/v1';
export const predicate_type = 'https://hxo.dev/plan-certificate/v1';

/** Shards by how they ended. total = done + failed + skipped; reused shards are among the done. */
export interface CertifiedCounts {
  readonly total: number;
  readonly done: number;
  readonly reused: number;
  readonly failed: number;
  readonly skipped: number;
}

export interface CertifiedArtifact {
  readonly name: string;
  /** SHA-256 of the artifact's bytes. */
  readonly digest: Digest;
  readonly bytes: number;
}

export interface CertifiedStage extends CertifiedCounts {
  readonly id: string;
  readonly kind: string;
  readonly partitioner: string;
  readonly executor: string;
  readonly executor_version: string;
  /** What the partitioner found, took, and left out because of a cap; null where it counts nothing. */
  readonly matched: number | null;
  readonly taken: number | null;
  readonly truncated: number | null;
  /** Digest of the stage's output; null when it has none. */
  readonly output: Digest | null;
  readonly artifacts: readonly CertifiedArtifact[];
}

/** A Merkle tree by its root and number of leaves. */
export interface TreeHead {
  readonly root: Digest;
  readonly size: number;
}

/** A list of hashes by the SHA-256 of their bytes, 32 each, one after the other. */
export interface RecordList {
  readonly digest: Digest;
  readonly count: number;
}

/** What a certificate says of a plan. Stages stand in the plan's order; times are UTC, whole seconds, `Z`. */
export interface PlanPredicate {
  readonly v: 1;
  readonly plan_id: string;
  readonly plan_name: string;
  readonly revision: number;
  readonly spec_digest: Digest;
  readonly phase: 'succeeded' | 'failed';
  /** A leaf for every shard, then one for every stage's output, whatever came of it. */
  readonly tree: TreeHead;
  /** The stored rows of the plan, its stages, segments and results: SHA-256 of the SHA-256 of each, over every column. */
  readonly records: RecordList;
  readonly counts: CertifiedCounts;
  readonly stages: readonly CertifiedStage[];
  /** Exactly what was checked before signing. */
  readonly verification: {
    readonly statement: string;
    readonly root_recomputed: boolean;
    readonly artifacts_rehashed: number;
  };
  readonly versions: { readonly hxo: string; readonly node: string };
  readonly started_at: string;
  readonly finished_at: string;
}

/** A verified certificate: what it says, and which trusted key says so. */
export interface Certificate extends Signer {
  readonly predicate: PlanPredicate;
}

interface Subject {
  readonly name: string;
  readonly digest: { readonly sha256: Digest };
}

interface Statement {
  readonly _type: typeof statement_type;
  readonly subject: readonly Subject[];
  readonly predicateType: typeof predicate_type;
  readonly predicate: PlanPredicate;
}

const counts = { total: count, done: count, reused: count, failed: count, skipped: count };
const treeHead = objectOf<TreeHead>({ root: digest, size: count });

const predicateShape = objectOf<PlanPredicate>({
  v: oneOf(1),
  plan_id: text,
  plan_name: text,
  revision: count,
  spec_digest: digest,
  phase: oneOf('succeeded', 'failed'),
  tree: treeHead,
  records: objectOf<RecordList>({ digest, count }),
  counts: objectOf<CertifiedCounts>(counts),
  stages: listOf(
    objectOf<CertifiedStage>({
      id: text,
      kind: text,
      partitioner: text,
      executor: text,
      executor_version: text,
      ...counts,
      matched: orNull(count),
      taken: orNull(count),
      truncated: orNull(count),
      output: orNull(digest),
      artifacts: listOf(objectOf<CertifiedArtifact>({ name: text, digest, bytes: count })),
    }),
  ),
  verification: objectOf({ statement: text, root_recomputed: flag, artifacts_rehashed: count }),
  versions: objectOf({ hxo: text, node: text }),
  started_at: time,
  finished_at: time,
});

const statementShape = objectOf<Statement>({
  _type: oneOf(statement_type),
  subject: listOf(objectOf<Subject>({ name: text, digest: objectOf({ sha256: digest }) })),
  predicateType: oneOf(predicate_type),
  predicate: predicateShape,
});

/**
 * Signs what a plan came to: an in-toto Statement v1 (https://in-toto.io/Statement/v1) in a DSSE envelope. The
 * first subject is the plan's root, then come the artifacts of its stages as `<stage>/<artifact>`.
 *
 * Throws {@link ShapeError} for a predicate that no reader would accept, so that none is ever signed.
 */
export function certifyPlan(predicate: PlanPredicate, key: SigningKey): Envelope {
  const said = predicateShape(predicate, 'predicate');
  checkSums(said);
  const statement: Statement = {
    _type: statement_type,
    subject: subjectsOf(said),
    predicateType: predicate_type,
    predicate: said,
  };
  return signEnvelope(Buffer.from(canonicalJson(statement), 'utf8'), key);
}

/**
 * What a certificate says, its signature verified with a trusted key first.
 *
 * Throws {@link EnvelopeError} when it is not signed by a trusted key, {@link ShapeError} when what is signed is no
 * plan certificate that adds up.
 */
export function readCertificate(envelope: unknown, trusted: readonly KeyObject[]): Certificate {
  const { payload, signer } = openEnvelope(envelope, trusted);
  return { predicate: parseStatement(payload), ...signer };
}

/** Parses a payload that has been verified. Throws {@link ShapeError}. */
export function parseStatement(payload: Uint8Array): PlanPredicate {
  const { subject, predicate } = statementShape(parseJson(payload), 'statement');
  checkSums(predicate);
  if (canonicalJson(subject) !== canonicalJson(subjectsOf(predicate))) {
    throw new ShapeError(
      'statement.subject',
      "the plan root, then the predicate's artifacts in order",
      subject,
    );
  }
  return predicate;
}

function subjectsOf({ tree, stages }: PlanPredicate): Subject[] {
  const artifacts = stages.flatMap((stage) =>
    stage.artifacts.map(({ name, digest }) => ({ name: `${stage.id}/${name}`, digest: { sha256: digest } })),
  );
  return [{ name: 'plan-root', digest: { sha256: tree.root } }, ...artifacts];
}

/** A certificate must add up: a reader who compares only totals must not be misled by the parts. */
function checkSums({ counts, stages, tree, phase }: PlanPredicate): void {
  checkCounts(counts, 'predicate.counts');
  stages.forEach((stage, i) => checkCounts(stage, `predicate.stages[${i}]`));
  for (const name of ['total', 'done', 'reused', 'failed', 'skipped'] as const) {
    const sum = stages.reduce((all, stage) => all + stage[name], 0);
    if (counts[name] !== sum) {
      throw new ShapeError(`predicate.counts.${name}`, `the sum of its stages, ${sum}`, counts[name]);
    }
  }
  if (phase === 'succeeded' && counts.done !== counts.total) {
    throw new ShapeError('predicate.phase', '"failed" when a shard failed or was skipped', phase);
  }
  const leaves = counts.total + stages.length;
  if (tree.size !== leaves) {
    throw new ShapeError('predicate.tree.size', `one leaf a shard and one a stage, ${leaves}`, tree.size);
  }
}

function checkCounts({ total, done, reused, failed, skipped }: CertifiedCounts, at: string): void {
  if (total !== done + failed + skipped) {
    throw new ShapeError(`${at}.total`, `done + failed + skipped, ${done + failed + skipped}`, total);
  }
  if (reused > done) throw new ShapeError(`${at}.reused`, `at most done, ${done}`, reused);
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new ShapeError('statement', 'JSON in UTF-8', new TextDecoder().decode(bytes));
  }
}
