import type { Readable } from 'node:stream';
import { canonicalJson, sha256, type Digest, type Json } from '#truth';
import { shardLeaf } from './aggregate/plan-trees.js';
import { BackgroundError, type Background } from './background.js';
import {
  RowUnreadable,
  StoreUnavailable,
  type CheckpointStore,
  type PlanRow,
  type StageRow,
} from './checkpoint/checkpoint-store.js';
import type { Clock } from './clock.js';
import { counted } from './counted.js';
import type { Engine } from './engine.js';
import { HxoError } from './errors.js';
import { docsIndexOf, newestDocsIndex } from './find-docs-index.js';
import { ArtifactMissing, type ArtifactStore } from './execute/artifact-store.js';
import { CacheLimitError, CacheUnavailable, cacheKey, type Cache } from './execute/cache.js';
import {
  Hxo,
  type Actor,
  type EventQuery,
  type EventView,
  type PageQuery,
  type SearchQuery,
  type SubmitOptions,
} from './hxo.js';
import type { BlueprintLink } from './links/blueprint.link.js';
import { eventView, type GenesisLink } from './links/genesis.link.js';
import type { ParserLink } from './links/parser.link.js';
import type { PermissionLink } from './links/permission.link.js';
import type { TruthLink } from './links/truth.link.js';
import type { LivePlan } from './plan/live-plan.js';
import { parsePlanId, type PlanId } from './plan/plan-spec.js';
import { reportView } from './report-view.js';
import { shardPage } from './shard-views.js';
import { planListItem, statusView } from './status-view.js';
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

const page_limit_default = 100;
const search_limit_default = 10;

/** What plans wait for while HXO is disabled. */
const disabled = 'HXO to be enabled (HXO_ENABLED=false now): set HXO_ENABLED=true and restart it';

export interface HxoServicePorts {
  readonly engine: Engine;
  readonly store: CheckpointStore;
  readonly artifacts: ArtifactStore;
  readonly cache: Cache;
  readonly background: Background;
  readonly parser: ParserLink;
  readonly blueprint: BlueprintLink;
  readonly permission: PermissionLink;
  readonly genesis: GenesisLink;
  readonly truth: TruthLink;
  readonly clock: Clock;
  /** HXO_ENABLED: false refuses writes; reads answer. */
  readonly enabled: boolean;
}

/** HXO as its callers see it. */
export class HxoService extends Hxo {
  constructor(private readonly ports: HxoServicePorts) {
    super();
  }

  async createAndSubmit(plan: Json, actor: Actor, options: SubmitOptions = {}): Promise<SubmittedView> {
    const { engine, permission } = this.ports;
    permission.assertMay(actor, 'hxo:plan');
    permission.assertMay(actor, 'hxo:submit');
    const spec = await this.checkedPlan(plan);
    const key = options.idempotency_key;
    const idempotency = key === undefined ? undefined : { key, body: sha256(canonicalJson(plan)) };
    const plan_id = await mendable(engine.store(spec, 'submitted', actor, idempotency));
    return { plan_id, name: spec.name, status: 'submitted', total_shards: null };
  }

  async create(plan: Json, actor: Actor): Promise<{ readonly plan_id: string }> {
    this.ports.permission.assertMay(actor, 'hxo:plan');
    const spec = await this.checkedPlan(plan);
    return { plan_id: await mendable(this.ports.engine.store(spec, 'created', actor)) };
  }

  async submit(plan_id: string, actor: Actor): Promise<SubmittedView> {
    this.ports.permission.assertMay(actor, 'hxo:submit');
    this.assertEnabled();
    const plan = this.plan(plan_id);
    await mendable(this.ports.engine.submit(plan.plan_no, actor));
    return { plan_id, name: plan.spec.name, status: 'submitted', total_shards: null };
  }

  async abort(
    plan_id: string,
    actor: Actor,
  ): Promise<{ readonly plan_id: string; readonly status: 'aborted' }> {
    this.ports.permission.assertMay(actor, 'hxo:abort');
    this.assertEnabled();
    const plan = this.plan(plan_id);
    const phase = await mendable(this.ports.engine.abort(plan.plan_no, plan_id, actor));
    if (phase !== 'aborted') {
      throw new HxoError(
        'PLAN_FINISHED',
        `The plan has ended already (${phase}); there is nothing to abort.`,
      );
    }
    return { plan_id, status: 'aborted' };
  }

  async status(plan_id: string): Promise<StatusView> {
    return this.statusOf(this.plan(plan_id)).status;
  }

  async report(plan_id: string): Promise<ReportView> {
    const plan = this.plan(plan_id);
    const { stages, status } = this.statusOf(plan);
    return reportView(plan, stages, status, this.ports.store, this.ports.clock);
  }

  async certificate(plan_id: string): Promise<Json> {
    return this.certified(this.plan(plan_id)).envelope;
  }

  async receipt(plan_id: string, stage: string, ordinal: number): Promise<Json> {
    const { store, background } = this.ports;
    const plan = this.plan(plan_id);
    const { envelope, leaves } = this.certified(plan);
    const stage_no = this.stageNo(plan, stage);
    const stages = store.stages(plan.plan_no);
    if (ordinal >= stages[stage_no]!.total) {
      const shards = counted(stages[stage_no]!.total, 'shard');
      throw new HxoError('SHARD_NOT_FOUND', `Stage ${stage} has ${shards}, so there is no shard ${ordinal}.`);
    }
    const index = stages.slice(0, stage_no).reduce((sum, earlier) => sum + earlier.total, 0) + ordinal;
    const segment = store.segmentsOf(plan.plan_no, stage_no, [ordinal])[0]!;
    const at = (ordinal - segment.first_ordinal) * 32;
    const cas = Buffer.from(segment.cas.subarray(at, at + 32)).toString('hex') as Digest;
    const result = store.result(plan.plan_no, plan.revision, stage_no, ordinal);
    const leaf = shardLeaf(plan.spec.stages[stage_no]!, cas, ordinal, result);
    const public_key = store.certificate(plan.plan_no, plan.revision)!.public_key;
    return background.makeReceipt({ leaf, index, leaves: leaves.digest, certificate: envelope, public_key });
  }

  async plans(
    query: PageQuery & { readonly phase?: string; readonly name?: string },
  ): Promise<Page<PlanListItem>> {
    const { store, engine } = this.ports;
    const limit = query.limit ?? page_limit_default;
    const before_no = query.cursor === undefined ? null : cursorNumber(query.cursor);
    const plans = await mendable(store.plans({ before_no, limit, phase: query.phase, name: query.name }));
    return {
      items: plans.map((plan) => planListItem(plan, store.stages(plan.plan_no), engine.find(plan.plan_id))),
      next_cursor: plans.length < limit ? null : String(plans.at(-1)!.plan_no),
    };
  }

  async shards(
    plan_id: string,
    query: PageQuery & { readonly stage?: string; readonly phase?: string },
  ): Promise<Page<ShardView>> {
    const plan = this.plan(plan_id);
    return shardPage(plan, this.live(plan), this.ports.store, {
      from: query.cursor === undefined ? { stage_no: 0, ordinal: 0 } : shardCursor(query.cursor),
      limit: query.limit ?? page_limit_default,
      stage_no: query.stage === undefined ? null : this.stageNo(plan, query.stage),
      phase: query.phase ?? null,
    });
  }

  async artifact(digest: Digest): Promise<{ readonly bytes: number; readonly stream: Readable }> {
    const bytes = await this.ports.artifacts.size(digest);
    if (bytes === null) throw new HxoError('ARTIFACT_NOT_FOUND', new ArtifactMissing(digest).message);
    return { bytes, stream: await this.ports.artifacts.open(digest) };
  }

  async registryEntry(module: string): Promise<Json> {
    try {
      const bytes = await this.ports.cache.get(cacheKey('registry', module));
      if (bytes !== null) return JSON.parse(Buffer.from(bytes).toString()) as Json;
    } catch (error) {
      if (error instanceof CacheUnavailable) throw new HxoError('CACHE_UNAVAILABLE', error.message);
      // No name of a module, or a value that somebody else put there: as if there were none.
      if (!(error instanceof CacheLimitError || error instanceof SyntaxError)) throw error;
    }
    throw new HxoError(
      'REGISTRY_ENTRY_NOT_FOUND',
      `The registry has no module ${JSON.stringify(module.slice(0, 200))}. A plan with a stage of kind deploy.prime, partitioner by_module, executor warm_registry puts the workspace's modules there.`,
    );
  }

  async search({ query, limit, plan_id, stage }: SearchQuery): Promise<SearchView> {
    const { store, background } = this.ports;
    const found =
      plan_id === undefined
        ? await mendable(newestDocsIndex(store, stage))
        : readable(() => docsIndexOf(store, this.plan(plan_id), stage));
    const { index, documents } = found;
    try {
      const hits = await background.search({
        ...{ index, documents, query },
        limit: limit ?? search_limit_default,
      });
      return { query, plan_id: found.plan_id, stage: found.stage, ...hits };
    } catch (error) {
      if (error instanceof BackgroundError && error.name === 'IndexUnusable')
        throw new HxoError('INDEX_NOT_FOUND', error.message);
      throw error;
    }
  }

  async audit(query: PageQuery): Promise<Page<AuditView>> {
    const limit = query.limit ?? page_limit_default;
    const after = query.cursor === undefined ? 0 : cursorNumber(query.cursor);
    const items = await this.ports.store.audit({ after, limit });
    return { items, next_cursor: items.length < limit ? null : String(items.at(-1)!.seq) };
  }

  async recordAudit(entry: Omit<AuditView, 'seq' | 'time'>): Promise<void> {
    const { store, truth, genesis } = this.ports;
    genesis.announce(await mendable(store.write((tx) => truth.audit(tx, entry), 'request')));
  }

  async events(query: EventQuery): Promise<Page<EventView>> {
    const limit = query.limit ?? page_limit_default;
    const events = await this.ports.store.events({
      topic: query.topic,
      plan_id: query.plan_id,
      after: query.after === undefined ? 0 : cursorNumber(query.after),
      limit,
      without: query.without_audit === true ? 'hxo.audit' : undefined,
    });
    return {
      items: events.map(eventView),
      next_cursor: events.length < limit ? null : String(events.at(-1)!.id),
    };
  }

  async readiness(): Promise<readonly string[]> {
    const { store, genesis, engine } = this.ports;
    return [...store.problems(), ...genesis.problems(), ...(await engine.problems())];
  }

  private async checkedPlan(plan: Json): Promise<ReturnType<ParserLink['parse']>> {
    this.assertEnabled();
    const spec = this.ports.parser.parse(plan);
    this.ports.blueprint.check(spec);
    await this.ports.blueprint.precheck(spec);
    return spec;
  }

  private assertEnabled(): void {
    if (this.ports.enabled) return;
    throw new HxoError(
      'HXO_DISABLED',
      'HXO is disabled (HXO_ENABLED=false): it answers reads and takes no work.',
    );
  }

  private plan(plan_id: string): PlanRow {
    const known: PlanId | null = parsePlanId(plan_id);
    const plan = known === null ? null : readable(() => this.ports.store.planById(known));
    if (plan === null) {
      throw new HxoError(
        'PLAN_NOT_FOUND',
        `There is no plan ${plan_id}. GET /api/hxo/plans lists those that exist.`,
      );
    }
    return plan;
  }

  private live(plan: PlanRow): LivePlan | undefined {
    return this.ports.engine.find(plan.plan_id);
  }

  private stageNo(plan: PlanRow, stage: string): number {
    const stage_no = plan.spec.stages.findIndex((spec) => spec.id === stage);
    if (stage_no !== -1) return stage_no;
    const stages = plan.spec.stages.map((spec) => spec.id).join(', ');
    throw new HxoError('STAGE_NOT_FOUND', `The plan has no stage ${stage}. Its stages: ${stages}.`);
  }

  private statusOf(plan: PlanRow): { readonly stages: readonly StageRow[]; readonly status: StatusView } {
    const { store, engine, clock, blueprint } = this.ports;
    const stages = readable(() => store.stages(plan.plan_no));
    const live = plan.finished_at === null ? this.live(plan) : undefined;
    const runs = this.ports.enabled || plan.phase === 'created';
    const waits_for = runs ? engine.waitsFor(plan.plan_id) : disabled;
    const status = statusView(plan, stages, live, waits_for, clock.monotonic_ms(), (partitioner) =>
      blueprint.capOf(partitioner),
    );
    return { stages, status };
  }

  private certified(plan: PlanRow): NonNullable<ReturnType<CheckpointStore['certificate']>> {
    const certificate = this.ports.store.certificate(plan.plan_no, plan.revision);
    if (certificate !== null) return certificate;
    if (plan.finished_at === null) {
      throw new HxoError(
        'PLAN_NOT_FINISHED',
        `The plan is ${plan.phase}; its certificate exists once it has ended.`,
      );
    }
    throw new HxoError(
      'NOT_CERTIFIED',
      `The plan ended ${plan.phase} before it could be certified: it has no certificate.`,
    );
  }
}

/** Store trouble as callers may see it. */
async function mendable<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw callersView(error);
  }
}

/** The same for what is read at once. */
function readable<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw callersView(error);
  }
}

function callersView(error: unknown): unknown {
  const trouble = error instanceof StoreUnavailable || error instanceof RowUnreadable;
  return trouble ? new HxoError('STORE_UNAVAILABLE', error.message) : error;
}

function cursorNumber(text: string): number {
  const number = Number(text);
  if (/^\d{1,15}$/.test(text) && Number.isSafeInteger(number)) return number;
  throw badCursor();
}

/** `stage.ordinal`, as shardPage gives it out. */
function shardCursor(text: string): { readonly stage_no: number; readonly ordinal: number } {
  const [stage_no, ordinal, ...more] = text.split('.').map(cursorNumber);
  if (stage_no === undefined || ordinal === undefined || more.length > 0) throw badCursor();
  return { stage_no, ordinal };
}

function badCursor(): HxoError {
  return new HxoError(
    'INVALID_QUERY',
    'The cursor is not one that this API gave out. Leave it out to start at the beginning.',
    [{ field: 'cursor', message: 'not a cursor of this API' }],
  );
}
