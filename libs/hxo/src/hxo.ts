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
 */
export abstract class Hxo {
  abstract createAndSubmit(plan: Json, actor: Actor, options?: SubmitOptions): Promise<SubmittedView>;
  abstract create(plan: Json, actor: Actor): Promise<{ readonly plan_id: string }>;
  abstract submit(plan_id: string, actor: Actor): Promise<SubmittedView>;
  /** Aborting an aborted plan answers the same again. Throws PLAN_FINISHED for one that succeeded or failed. */
  abstract abort(
    plan_id: string,
    actor: Actor,
  ): Promise<{ readonly plan_id: string; readonly status: 'aborted' }>;
  abstract status(plan_id: string): Promise<StatusView>;
  abstract report(plan_id: string): Promise<ReportView>;
  abstract certificate(plan_id: string): Promise<Json>;
  abstract receipt(plan_id: string, stage: string, ordinal: number): Promise<Json>;
  abstract plans(
    query: PageQuery & { readonly phase?: string; readonly name?: string },
  ): Promise<Page<PlanListItem>>;
  abstract shards(
    plan_id: string,
    query: PageQuery & { readonly stage?: string; readonly phase?: string },
  ): Promise<Page<ShardView>>;
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
