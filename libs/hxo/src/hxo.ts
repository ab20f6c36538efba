import type { Readable } from 'node:stream';
import type { Digest, Json } from '#truth';
import type {
  AuditView,
  Page,
  PlanListItem,
  ReportView,
  SearchView,
  ShardView,
  StatusView,
  SubmittedView,
} from './views.js';

/** Who asks; written into the audit trail. */
export interface Actor {
  readonly role: 'admiral' | 'captain' | 'anonymous' | 'hxo';
}

export interface SubmitOptions {
  /** Same key and same body: the same plan id again, nothing submitted twice. */
  readonly idempotency_key?: string;
}

export interface PageQuery {
  /** The `next_cursor` of the page before, by the same method and the same filters; left out, the first page. */
  readonly cursor?: string;
  /** 1 to 1,000; 100 when left out. */
  readonly limit?: number;
}

export interface EventQuery {
  /** Exact topic, or a prefix ending in `*`. */
  readonly topic?: string;
  readonly plan_id?: string;
  /** Event id (a decimal number): only later ones. */
  readonly after?: string;
  readonly limit?: number;
  /** Leave `hxo.audit` events out. */
  readonly without_audit?: boolean;
}

export interface EventView {
  readonly id: string;
  readonly topic: string;
  readonly time: string;
  readonly plan_id: string | null;
  readonly data: Json;
}

export interface SearchQuery {
  readonly query: string;
  /** 1 to 100; 10 when left out. */
  readonly limit?: number;
  /** Left out, the newest plan that succeeded and has an index answers. */
  readonly plan_id?: string;
  /** Id of a stage of kind docs.index. */
  readonly stage?: string;
}

/**
 * Everything that HXO offers, without HTTP: what controllers call and what an embedding program injects.
 * Methods throw HxoError for what is the caller's to mend. `plan` arguments are untrusted JSON that has passed the DTOs.
 * Those that take a `plan_id` throw PLAN_NOT_FOUND when there is no such plan, and STORE_UNAVAILABLE when its row cannot be
 * read. Those that take an actor throw FORBIDDEN when its role may not, and HXO_DISABLED while HXO_ENABLED is false.
 */
export abstract class Hxo {
  abstract createAndSubmit(plan: Json, actor: Actor, options?: SubmitOptions): Promise<SubmittedView>;
  abstract create(plan: Json, actor: Actor): Promise<{ readonly plan_id: string }>;
  /**
   * Submits a plan that `create` stored. Resolves when that is durable; the plan then runs in the background. `total_shards`
   * of the answer is null, for nothing is partitioned yet. Throws PLAN_ALREADY_SUBMITTED for every plan that is not `created`
   * any more, aborted ones included.
   */
  abstract submit(plan_id: string, actor: Actor): Promise<SubmittedView>;
  /** Aborting an aborted plan answers the same again. Throws PLAN_FINISHED for one that succeeded or failed. */
  abstract abort(
    plan_id: string,
    actor: Actor,
  ): Promise<{ readonly plan_id: string; readonly status: 'aborted' }>;
  /**
   * Where a plan stands: counts of shards by phase, in all and for each stage, and times as UTC texts (RFC 3339, to the
   * second). `eta_seconds` is to a tenth, 0 once the plan has ended, null while it cannot be told. No shard is read for it, so
   * a million of them cost nothing.
   */
  abstract status(plan_id: string): Promise<StatusView>;
  /**
   * The status, and what came of it: SLOs, reuse, the first hundred failures, outputs, notes, and certificate and signer,
   * which are null while there is no certificate. Answers at any time; `final` is false until the plan has ended.
   */
  abstract report(plan_id: string): Promise<ReportView>;
  /**
   * The DSSE envelope as it was signed (docs/formats/certificate.md). Throws PLAN_NOT_FINISHED until the plan has ended, and
   * NOT_CERTIFIED when it ended without a certificate: aborted, or failed before it could be certified.
   */
  abstract certificate(plan_id: string): Promise<Json>;
  /**
   * The proof that one shard is under the root, to be checked offline (docs/formats/certificate.md). Throws as `certificate`
   * does, then STAGE_NOT_FOUND and SHARD_NOT_FOUND.
   * @param stage its id in the plan
   * @param ordinal the shard's position in its stage: a whole number from 0, as partitioning gave it out
   */
  abstract receipt(plan_id: string, stage: string, ordinal: number): Promise<Json>;
  /**
   * Plans, the newest first; `phase` and `name` must be equal. The cursor is a decimal number. Throws INVALID_QUERY for a
   * cursor that is none, and STORE_UNAVAILABLE.
   */
  abstract plans(
    query: PageQuery & { readonly phase?: string; readonly name?: string },
  ): Promise<Page<PlanListItem>>;
  /**
   * Shards by stage in the order of the plan, then by ordinal, from 0 in each stage. A page may be short, even empty, and
   * still have a `next_cursor`: it has looked at its share. The cursor is `<number of the stage, from 0>.<ordinal>` of the next
   * shard to look at. Throws INVALID_QUERY for a cursor of another form, and STAGE_NOT_FOUND.
   * @param query `stage` is a stage's id in the plan
   */
  abstract shards(
    plan_id: string,
    query: PageQuery & { readonly stage?: string; readonly phase?: string },
  ): Promise<Page<ShardView>>;
  /**
   * A blob by its SHA-256, as outputs name it: its length in bytes, and a stream that the caller reads to its end or
   * destroys. Whether the bytes still have the digest is the caller's to check. Throws ARTIFACT_NOT_FOUND.
   */
  abstract artifact(digest: Digest): Promise<{ readonly bytes: number; readonly stream: Readable }>;
  /**
   * What warm_registry put into the registry of a module, by its name. Throws REGISTRY_ENTRY_NOT_FOUND, and
   * CACHE_UNAVAILABLE when the cache is away.
   */
  abstract registryEntry(module: string): Promise<Json>;
  /** Searches the documentation that a stage of kind docs.index made an index of. Throws INDEX_NOT_FOUND. */
  abstract search(query: SearchQuery): Promise<SearchView>;
  abstract audit(query: PageQuery): Promise<Page<AuditView>>;
  /** Appends an audit entry and publishes `hxo.audit`. Used for denials, which never reach another method. */
  abstract recordAudit(entry: Omit<AuditView, 'seq' | 'time'>): Promise<void>;
  abstract events(query: EventQuery): Promise<Page<EventView>>;
  /** What keeps HXO from taking work now; empty when ready. */
  abstract readiness(): Promise<readonly string[]>;
}
