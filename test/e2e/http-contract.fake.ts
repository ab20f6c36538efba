import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { Hxo, HxoError } from '#hxo';
import type {
  Actor,
  AuditView,
  EventQuery,
  EventView,
  Page,
  PageQuery,
  PlanListItem,
  ReportView,
  SearchQuery,
  SearchView,
  ShardView,
  StatusView,
  SubmitOptions,
  SubmittedView,
} from '#hxo';
import { canonicalJson, type Digest, type Json } from '#truth';

const time = '2025-10-11T20:00:00Z';
const no_shards = {
  total_shards: 0,
  pending_shards: 0,
  claimed_shards: 0,
  running_shards: 0,
  done_shards: 0,
  failed_shards: 0,
};

interface FakePlan {
  readonly name: string;
  phase: 'created' | 'submitted' | 'aborted';
}

/** HXO without an engine, for what is said over HTTP: plans are kept and answered for, but never run. */
export class FakeHxo extends Hxo {
  readonly plansById = new Map<string, FakePlan>();
  readonly audited: Omit<AuditView, 'seq' | 'time'>[] = [];
  readonly blob = Buffer.from('the bytes of an artifact\n'.repeat(100));
  readonly digest = createHash('sha256').update(this.blob).digest('hex') as Digest;
  /** What `readiness` answers. */
  reasons: readonly string[] = [];
  /** What every method throws, when it is set. */
  fault: Error | null = null;
  /** Requests that reached HXO: what the fuzzer counts. */
  calls = 0;
  private readonly keys = new Map<string, { readonly body: string; readonly plan_id: string }>();

  async createAndSubmit(plan: Json, actor: Actor, options: SubmitOptions = {}): Promise<SubmittedView> {
    this.called();
    const key = options.idempotency_key;
    const body = canonicalJson(plan);
    const earlier = key === undefined ? undefined : this.keys.get(key);
    if (earlier !== undefined) {
      if (earlier.body !== body) throw new HxoError('IDEMPOTENCY_KEY_REUSED', 'Take another key.');
      return this.submitted(earlier.plan_id);
    }
    const plan_id = await this.store(plan, actor);
    if (key !== undefined) this.keys.set(key, { body, plan_id });
    return this.release(plan_id);
  }

  async create(plan: Json, actor: Actor): Promise<{ readonly plan_id: string }> {
    this.called();
    return { plan_id: await this.store(plan, actor) };
  }

  async submit(plan_id: string): Promise<SubmittedView> {
    this.called();
    return this.release(plan_id);
  }

  async abort(plan_id: string): Promise<{ readonly plan_id: string; readonly status: 'aborted' }> {
    this.called();
    this.find(plan_id).phase = 'aborted';
    return { plan_id, status: 'aborted' };
  }

  async status(plan_id: string): Promise<StatusView> {
    this.called();
    const { name, phase } = this.find(plan_id);
    return {
      ...no_shards,
      plan_id,
      plan_name: name,
      phase,
      revision: 0,
      total_final: false,
      reused_shards: 0,
      skipped_shards: 0,
      retrying_shards: 0,
      merkle_root: null,
      truth_certified: false,
      submitted_at: time,
      started_at: null,
      finished_at: null,
      eta_seconds: null,
      waiting_for: null,
      error: null,
      stages: [],
    };
  }

  async report(plan_id: string): Promise<ReportView> {
    return {
      ...(await this.status(plan_id)),
      final: false,
      slo: [],
      reuse: { reused: 0, executed: 0, misses: {}, stages: [] },
      failures: [],
      outputs: [],
      notes: [],
      certificate: null,
      signer: null,
    };
  }

  async certificate(plan_id: string): Promise<Json> {
    this.called();
    this.find(plan_id);
    throw new HxoError('PLAN_NOT_FINISHED', 'Ask again when the plan has ended.');
  }

  async receipt(plan_id: string, stage: string, ordinal: number): Promise<Json> {
    this.called();
    this.find(plan_id);
    if (stage !== 'pack') throw new HxoError('STAGE_NOT_FOUND', 'The plan has the stage pack.');
    if (ordinal > 0) throw new HxoError('SHARD_NOT_FOUND', 'The stage has one shard.');
    return { plan_id, stage, ordinal };
  }

  async plans(query: PageQuery & { readonly phase?: string }): Promise<Page<PlanListItem>> {
    this.called();
    const items = [...this.plansById].map(([plan_id, { name, phase }]) => ({
      ...no_shards,
      plan_id,
      plan_name: name,
      phase,
      merkle_root: null,
      truth_certified: false,
      submitted_at: time,
      finished_at: null,
    }));
    return { items: items.slice(0, query.limit ?? 100), next_cursor: null };
  }

  async shards(plan_id: string): Promise<Page<ShardView>> {
    this.called();
    this.find(plan_id);
    return { items: [], next_cursor: null };
  }

  async artifact(digest: Digest): Promise<{ readonly bytes: number; readonly stream: Readable }> {
    this.called();
    if (digest !== this.digest) throw new HxoError('ARTIFACT_NOT_FOUND', `There is no artifact ${digest}.`);
    return { bytes: this.blob.length, stream: Readable.from([this.blob]) };
  }

  async registryEntry(module: string): Promise<Json> {
    this.called();
    if (module !== '@scope/größe') throw new HxoError('REGISTRY_ENTRY_NOT_FOUND', `No module ${module}.`);
    return { module };
  }

  async search({ query, plan_id, limit }: SearchQuery): Promise<SearchView> {
    this.called();
    if (plan_id === undefined)
      throw new HxoError('INDEX_NOT_FOUND', 'Submit a plan with a stage of kind docs.index.');
    this.find(plan_id);
    const hit = { route: '/', title: query, path: 'README.md', snippet: query, matches: [], score: 1 };
    const items = Array.from({ length: limit ?? 10 }, () => hit);
    return { query, plan_id, stage: 'docs', total: items.length, items };
  }

  async audit(query: PageQuery): Promise<Page<AuditView>> {
    this.called();
    const items = this.audited.slice(0, query.limit ?? 100);
    return { items: items.map((entry, seq) => ({ ...entry, seq, time })), next_cursor: null };
  }

  async recordAudit(entry: Omit<AuditView, 'seq' | 'time'>): Promise<void> {
    this.audited.push(entry);
  }

  async events(query: EventQuery): Promise<Page<EventView>> {
    this.called();
    const topics = query.without_audit ? ['hxo.plan'] : ['hxo.plan', 'hxo.audit'];
    const items = topics.map((topic, i) => ({ id: String(i + 1), topic, time, plan_id: null, data: {} }));
    return { items, next_cursor: null };
  }

  async readiness(): Promise<readonly string[]> {
    this.called();
    return this.reasons;
  }

  private async store(plan: Json, actor: Actor): Promise<string> {
    const { name, stages } = plan as { name: string; stages: { id: string; kind: string }[] };
    for (const { id, kind } of stages) {
      if (kind === 'deploy.migrate') {
        throw new HxoError('NOT_IN_THIS_BUILD', `Stage ${id}: deploy.migrate is not built yet.`);
      }
      if (kind !== 'deploy.pack') {
        throw new HxoError('BLUEPRINT_VIOLATION', `Stage ${id}: the kind must be deploy.pack.`);
      }
    }
    const plan_id = `plan-${this.plansById.size + 1}`;
    this.plansById.set(plan_id, { name, phase: 'created' });
    await this.recordAudit({
      actor: actor.role,
      action: 'plan.create',
      outcome: 'ok',
      plan_id,
      data: { name },
    });
    return plan_id;
  }

  private release(plan_id: string): SubmittedView {
    const plan = this.find(plan_id);
    if (plan.phase !== 'created') throw new HxoError('PLAN_ALREADY_SUBMITTED', 'It was submitted before.');
    plan.phase = 'submitted';
    return this.submitted(plan_id);
  }

  private called(): void {
    this.calls += 1;
    if (this.fault !== null) throw this.fault;
  }

  private find(plan_id: string): FakePlan {
    const plan = this.plansById.get(plan_id);
    if (plan === undefined) throw new HxoError('PLAN_NOT_FOUND', `There is no plan ${plan_id}.`);
    return plan;
  }

  private submitted(plan_id: string): SubmittedView {
    return { plan_id, name: this.find(plan_id).name, status: 'submitted', total_shards: null };
  }
}
