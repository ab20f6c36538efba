import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GenesisBus, GenesisEvent } from '#genesis';
import { signingKeyOf, type Json } from '#truth';
import {
  buildCatalogue,
  Engine,
  gatherResults,
  makeSegments,
  HashedAhead,
  sealPlan,
  system_clock,
  type Background,
  type Executor,
  type Partitioner,
  type PlanId,
  type StatusView,
  type Workspace,
} from '#hxo';
import { createArtifactStore, type FileArtifactStore } from '#adapters/files';
import { SqliteCheckpointStore } from '#adapters/typeorm';
import type { EnginePorts } from '../../libs/hxo/src/engine-ports.js';
import { FederationLink } from '../../libs/hxo/src/links/federation.link.js';
import { GenesisLink } from '../../libs/hxo/src/links/genesis.link.js';
import { TruthLink } from '../../libs/hxo/src/links/truth.link.js';
import { checkBlueprint } from '../../libs/hxo/src/plan/check-blueprint.js';
import { parsePlan } from '../../libs/hxo/src/plan/parse-plan.js';
import { statusView } from '../../libs/hxo/src/status-view.js';
import { FakeTransport, succeed, type Work } from './fake-transport.js';

/** Makes as many shards in each wave as `config.waves` says. */
export const by_waves: Partitioner<readonly number[]> = {
  name: 'by_waves',
  parse: (config) => config.waves as readonly number[],
  async *partition(waves) {
    const total = waves.reduce((sum, count) => sum + count, 0);
    for (const [wave, count] of waves.entries())
      for (let i = 0; i < count; i++) yield { wave, weight: 1, inputs: { wave, i }, input_digests: [] };
    return { matched: total, taken: total, truncated: 0 };
  },
};

const executor = (name: string, more: Partial<Executor> = {}): Executor => ({
  ...{ name, kinds: ['test'], version: '1', cacheable: false, deterministic: true },
  ...{ load: 'cpu', isolation: 'thread' },
  parse: (inputs) => inputs,
  run: () => Promise.reject(new Error('The fake transport works without executors.')),
  ...more,
});
const collect: Executor['collect'] = () => Promise.reject(new Error('The fake transport collects itself.'));

/** The same, for stages whose dependencies make what they list. */
export const by_late_waves: Partitioner<readonly number[]> = {
  ...by_waves,
  name: 'by_late_waves',
  follows_dependencies: true,
};

/** The same, for shards that would only wait for each other. */
const by_turns: Partitioner<readonly number[]> = {
  ...by_waves,
  name: 'by_turns',
  one_by_one: () => true,
};

export const catalogue = buildCatalogue(
  [by_waves, by_late_waves, by_turns],
  [
    executor('plain'),
    executor('collecting', { collect }),
    executor('io', { load: 'io' }),
    executor('cacheable', { cacheable: true }),
  ],
);

export type Stage = Record<string, Json> & { readonly id: string };

/**
 * A real engine over a real SQLite store in a temporary folder; only the transport is fake. Background work runs in
 * this thread.
 */
export class RunningEngine {
  readonly log: string[] = [];
  readonly events: GenesisEvent[] = [];
  /** Added to the monotonic clock. */
  later_ms = 0;
  readonly key = signingKeyOf(generateKeyPairSync('ed25519').privateKey);
  readonly artifacts: FileArtifactStore;
  store!: SqliteCheckpointStore;
  engine!: Engine;
  genesis!: GenesisLink;
  private federation!: FederationLink;

  private constructor(
    readonly dir: string,
    public transport: FakeTransport,
    private readonly max_concurrency: number,
  ) {
    this.artifacts = createArtifactStore(join(dir, 'artifacts'));
  }

  static async start(
    options: { slots?: number; max_concurrency?: number; work?: Work; durable?: boolean } = {},
  ): Promise<RunningEngine> {
    const transport = new FakeTransport(options.slots ?? 2, options.work ?? succeed, options.durable);
    const dir = mkdtempSync(join(tmpdir(), 'hxo-engine-'));
    const running = new RunningEngine(dir, transport, options.max_concurrency ?? 64);
    await running.boot();
    return running;
  }

  /** Starts over on the same folder, as a new process would. */
  async restart(work: Work = succeed): Promise<void> {
    await this.halt();
    this.transport = new FakeTransport(this.transport.size, work, this.transport.durable);
    await this.boot();
  }

  async submit(stages: readonly Stage[], constraints: Record<string, Json> = {}): Promise<PlanId> {
    const defaults = { slo_ms: 60_000, shard_timeout_ms: 1_000, max_shards: 100_000 };
    const plan = {
      name: 'plan',
      constraints,
      stages: stages.map((stage) => ({ ...stage_defaults, ...stage })),
    };
    const spec = parsePlan(plan, catalogue.kinds, defaults);
    checkBlueprint(spec, catalogue);
    return this.engine.store(spec, 'submitted', { role: 'admiral' });
  }

  /** A plan's status; asserts that it adds up. */
  status(plan_id: PlanId): StatusView {
    const plan = this.store.planById(plan_id)!;
    const live = plan.finished_at === null ? this.engine.find(plan_id) : undefined;
    const status = statusView(
      plan,
      this.store.stages(plan.plan_no),
      live,
      null,
      performance.now(),
      () => null,
    );
    for (const view of [status, ...status.stages]) {
      const { pending_shards, claimed_shards, running_shards, done_shards, failed_shards } = view;
      const sum = pending_shards + claimed_shards + running_shards + done_shards + failed_shards;
      if (sum !== view.total_shards) throw new Error(`The status does not add up: ${JSON.stringify(view)}`);
    }
    return status;
  }

  /** Polls the status, which must add up every time, until it is as wanted. */
  async until(plan_id: PlanId, wanted: (status: StatusView) => boolean): Promise<StatusView> {
    for (let i = 0; i < 4_000; i++) {
      const status = this.status(plan_id);
      if (wanted(status)) return status;
      await sleep(2);
    }
    throw new Error(`Not in time: ${JSON.stringify(this.status(plan_id))} ${this.log.join('; ')}`);
  }

  end(plan_id: PlanId): Promise<StatusView> {
    return this.until(plan_id, (status) => status.finished_at !== null);
  }

  /** Submits and waits for the end. */
  async run(stages: readonly Stage[], constraints: Record<string, Json> = {}): Promise<StatusView> {
    return this.end(await this.submit(stages, constraints));
  }

  async auditOf(action: string): Promise<Json[]> {
    const entries = await this.store.audit({ after: 0, limit: 1_000 });
    return entries.filter((entry) => entry.action === action).map(({ data }) => data);
  }

  async halt(): Promise<void> {
    await this.engine.drain(0);
    await this.store.close();
  }

  async close(): Promise<void> {
    await this.halt();
    rmSync(this.dir, { recursive: true });
    if (this.log.length > 0) throw new Error(`The engine reported errors: ${this.log.join('; ')}`);
  }

  private async boot(): Promise<void> {
    // Errors of a native module may be those of another spec's realm, and no instances of this one's Error.
    const report = (message: string, error?: unknown): void =>
      void this.log.push(`${message} ${(error as Error | undefined)?.stack ?? ''}`);
    this.store = await SqliteCheckpointStore.open(join(this.dir, 'hxo.db'), (error) =>
      report('fatal', error),
    );
    const clock = { ...system_clock, monotonic_ms: () => performance.now() + this.later_ms };
    const bus = {
      enabled: true,
      hears: () => true,
      publish: (event: GenesisEvent) => void this.events.push(event),
    };
    const genesis = new GenesisLink(bus as unknown as GenesisBus, null, clock, {
      batch_size: 100,
      max_rate: 1_000,
    });
    this.genesis = genesis;
    const truth = new TruthLink(this.key, genesis, clock, 'test');
    const { store, artifacts, transport, max_concurrency } = this;
    const onError = (error: unknown): void => report('guarded', error);
    this.federation = new FederationLink({
      ...{ store, transport, artifacts, genesis, truth, clock, max_concurrency, onError },
      random: () => 0,
    });
    const ports: EnginePorts = {
      ...{ catalogue, store, genesis, truth, clock, federation: this.federation },
      partition_context: { workspace: {} as Workspace },
      background: this.background(),
    };
    const log = { info: () => {}, warn: () => {}, error: report };
    this.engine = new Engine(ports, log);
    await this.engine.start(true);
  }

  private background(): Background {
    const { store, artifacts } = this;
    const ahead = new HashedAhead();
    return {
      async partition({ config, content, options }, onSegments) {
        const context = { workspace: {} as Workspace };
        const made = makeSegments(by_waves, by_waves.parse(config), content, context, options);
        for (;;) {
          const next = await made.next();
          if (next.done === true) return next.value;
          await onSegments([next.value]);
        }
      },
      async verifyArtifacts(digests) {
        const missing = [];
        const corrupt = [];
        for (const digest of digests) {
          const state = await artifacts.verify(digest);
          if (state === 'missing') missing.push(digest);
          if (state === 'corrupt') corrupt.push(digest);
        }
        return { missing, corrupt };
      },
      gatherResults: (plan, stage_no) => gatherResults(store, artifacts, plan, stage_no),
      hashAhead: async (plan) => ahead.advance(store, plan),
      sealPlan: (plan) => sealPlan(store, artifacts, plan, ahead),
      makeReceipt: () => Promise.reject(new Error('No spec of the engine asks for receipts.')),
      search: () => Promise.reject(new Error('No spec of the engine searches.')),
    };
  }
}

const stage_defaults = {
  kind: 'test',
  executor: 'plain',
  config: { waves: [3] },
  retry: { max_failures: 3, backoff_ms: 1, backoff_max_ms: 1 },
};
