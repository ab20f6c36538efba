import { randomUUID } from 'node:crypto';
import { canonicalJson, sha256, type Digest } from '#truth';
import {
  RowUnreadable,
  type PlanRow,
  type StoredEvent,
  type Transaction,
} from './checkpoint/checkpoint-store.js';
import type { EnginePorts } from './engine-ports.js';
import { HxoError } from './errors.js';
import type { Actor } from './hxo.js';
import { PlanStopped, type LivePlan } from './plan/live-plan.js';
import { isTerminal } from './plan/phases.js';
import type { PlanId, PlanSpec } from './plan/plan-spec.js';
import { ExecutorMissing, livePlan, rehydrate } from './rehydrate.js';
import { runPlan } from './run-plan.js';
import { stopOf } from './stop-of.js';

/** Timers of Node take at most this many milliseconds. */
const timer_max_ms = 2 ** 31 - 1;

export interface EngineLog {
  info(message: string): void;
  warn(message: string): void;
  error(message: string, error?: unknown): void;
}

/** Owns the plans that have not ended: starts, resumes, stops them. */
export class Engine {
  private readonly live = new Map<string, LivePlan>();
  /** Plans that this process cannot run, and why. */
  private readonly waiting = new Map<string, string>();
  private readonly timeboxes = new Map<string, NodeJS.Timeout>();
  private draining = false;

  constructor(
    private readonly ports: EnginePorts,
    private readonly log: EngineLog,
  ) {}

  /** Starts the workers, and resumes every plan that has not ended unless `enabled` is false. */
  async start(enabled: boolean): Promise<void> {
    const { genesis, store, federation } = this.ports;
    await genesis.catchUp((after) => store.events({ after, limit: 1_000 }));
    const plans = enabled ? await this.recover() : [];
    await federation.start();
    for (const plan of plans) this.run(plan);
  }

  /** Rebuilds the plans that have not ended. Their leases that may be alive are taken up before any report is read. */
  private async recover(): Promise<LivePlan[]> {
    const { store, federation } = this.ports;
    const plans: LivePlan[] = [];
    for (const { plan_no, plan_id } of store.unfinishedPlans()) {
      try {
        const row = store.planByNo(plan_no)!;
        const { plan, alive } = await rehydrate(row, this.ports);
        federation.resume(plan, alive);
        plans.push(plan);
        this.log.info(`Resuming plan ${plan.plan_id} (${plan.spec.name}), ${plan.phase}.`);
      } catch (error) {
        this.wait(plan_id, error);
      }
    }
    return plans;
  }

  /** Leases nothing more, lets workers end what they do for at most `grace_ms`. Plans go on at the next start. */
  async drain(grace_ms: number): Promise<void> {
    this.draining = true;
    for (const timer of this.timeboxes.values()) clearTimeout(timer);
    await this.ports.federation.drain(grace_ms);
  }

  /** Closes the journal. The last step of all, when the store is closed: until then plans go on that need no worker. */
  close(): Promise<void> {
    return this.ports.genesis.close();
  }

  /** What keeps HXO from executing shards at all, in words. */
  problems(): Promise<readonly string[]> {
    return this.ports.federation.problems();
  }

  find(plan_id: string): LivePlan | undefined {
    return this.live.get(plan_id);
  }

  /** What a plan that makes no progress waits for, in words; null when it waits for nothing. */
  waitsFor(plan_id: string): string | null {
    const plan = this.live.get(plan_id);
    return this.waiting.get(plan_id) ?? (plan === undefined ? null : this.ports.federation.obstacle(plan));
  }

  /** Stores a plan, `created` or `submitted`. Resolves after the commit. With a known idempotency key: the earlier plan's id. */
  async store(
    spec: PlanSpec,
    phase: 'created' | 'submitted',
    actor: Actor,
    idempotency?: { readonly key: string; readonly body: Digest },
  ): Promise<PlanId> {
    const { catalogue, store, genesis, clock } = this.ports;
    const plan_id = randomUUID() as string as PlanId;
    const versions = spec.stages.map((stage) => catalogue.executors.get(stage.executor)!.version);
    const spec_digest = sha256(canonicalJson(spec));
    const now_ms = clock.now_ms();
    const submitted_at = phase === 'submitted' ? now_ms : null;
    const fresh = { plan_id, name: spec.name, spec, spec_digest, revision: 1, phase, submitted_at };
    const stored = await store.write((tx) => {
      const earlier =
        idempotency && tx.claimIdempotencyKey(idempotency.key, idempotency.body, plan_id, now_ms);
      if (earlier) return { earlier, row: null };
      const row = { ...fresh, started_at: null, finished_at: null, error: null, root: null };
      const plan_no = tx.insertPlan(row, versions);
      const events = this.submission(
        tx,
        phase === 'created' ? 'plan.create' : 'plan.submit',
        plan_id,
        spec,
        actor,
      );
      return { earlier: null, row: { ...row, plan_no }, events };
    }, 'request');
    if (stored.earlier !== null) {
      if (stored.earlier.body === idempotency!.body) return stored.earlier.plan_id;
      const detail = 'This Idempotency-Key was used with another plan. Use a new key for a new plan.';
      throw new HxoError('IDEMPOTENCY_KEY_REUSED', detail);
    }
    genesis.announce(stored.events);
    if (phase === 'submitted') this.begin(stored.row, versions);
    return plan_id;
  }

  /**
   * Submits a plan that was created. Throws HxoError PLAN_ALREADY_SUBMITTED. A plan that this build can no longer run is
   * submitted all the same, and waits.
   */
  async submit(plan_no: number, actor: Actor): Promise<void> {
    const { store, genesis, clock } = this.ports;
    const row = store.planByNo(plan_no)!;
    const submitted_at = clock.now_ms();
    const versions = store.stages(plan_no).map((stage) => stage.executor_version);
    const events = await store.write((tx) => {
      if (tx.planPhase(plan_no) !== 'created') {
        throw new HxoError(
          'PLAN_ALREADY_SUBMITTED',
          'The plan was submitted already. Its status tells how far it is.',
        );
      }
      tx.updatePlan(plan_no, { phase: 'submitted', submitted_at });
      return this.submission(tx, 'plan.submit', row.plan_id, row.spec, actor);
    }, 'request');
    genesis.announce(events);
    this.begin({ ...row, phase: 'submitted', submitted_at }, versions);
  }

  /** Aborts a plan. Returns the phase that it is in afterwards: another than `aborted` when it had ended before. */
  async abort(plan_no: number, plan_id: string, actor: Actor): Promise<string> {
    const stop = new PlanStopped('aborted', 'ABORTED', `Aborted by ${actor.role}.`);
    return this.stop(plan_no, plan_id, stop, actor, 'request');
  }

  private submission(
    tx: Transaction,
    action: string,
    plan_id: PlanId,
    spec: PlanSpec,
    actor: Actor,
  ): StoredEvent[] {
    const data = { name: spec.name, stages: spec.stages.length };
    const audited = this.ports.truth.audit(tx, { actor: actor.role, action, outcome: 'ok', plan_id, data });
    if (action !== 'plan.submit') return audited;
    const told = { name: spec.name, phase: 'submitted', revision: 1, error: null };
    return [...audited, ...tx.appendEvents(this.ports.genesis.event('hxo.plan', plan_id, told))];
  }

  /** Runs a plan whose submission is committed: nothing that is wrong with it may be thrown at its caller any more. */
  private begin(row: PlanRow, versions: readonly string[]): void {
    try {
      this.run(livePlan(row, versions, this.ports));
    } catch (error) {
      this.wait(row.plan_id, error);
    }
  }

  /** Leaves a plan that cannot run in this process as it is stored. Throws `error` when it says nothing on the plan. */
  private wait(plan_id: PlanId, error: unknown): void {
    if (!(error instanceof ExecutorMissing || error instanceof RowUnreadable)) throw error;
    this.waiting.set(plan_id, error.message);
    this.log.error(`Plan ${plan_id} waits: ${error.message}`);
  }

  /** Runs a plan in the background, to its end or to what stops it. */
  private run(plan: LivePlan): void {
    this.live.set(plan.plan_id, plan);
    this.startTimebox(plan);
    void runPlan(plan, this.ports)
      .catch((error: unknown) => this.endEarly(plan, error))
      .catch((error: unknown) => this.strand(plan, error))
      .finally(() => this.forget(plan));
  }

  private async endEarly(plan: LivePlan, error: unknown): Promise<void> {
    if (this.draining || plan.stopped !== null) return;
    if (!(error instanceof PlanStopped))
      this.log.error(`Plan ${plan.plan_id} met an unexpected error.`, error);
    await this.stop(plan.plan_no, plan.plan_id, stopOf(error), { role: 'hxo' }, 'engine');
  }

  /** Gives up a plan whose end could not be stored: a new process finds it as the store has it, and this one says so. */
  private strand(plan: LivePlan, error: unknown): void {
    this.log.error(`Plan ${plan.plan_id} could not be ended.`, error);
    if (this.draining) return;
    const waits_for = 'a restart of HXO: it met an error that its log names, and could not end the plan';
    this.waiting.set(plan.plan_id, waits_for);
    plan.stopped = stopOf(error);
    this.ports.federation.drop(plan);
  }

  /** Stores why a plan stops, unless it has ended, then gives up what it has under way. */
  private async stop(
    plan_no: number,
    plan_id: string,
    stop: PlanStopped,
    actor: Actor,
    patience: 'engine' | 'request',
  ): Promise<string> {
    const { store, genesis, clock, federation } = this.ports;
    const { phase, code, detail, stage_no } = stop;
    const name = store.planByNo(plan_no)!.spec.name;
    const stored = await store.write((tx) => {
      const before = tx.planPhase(plan_no);
      if (isTerminal(before)) return { phase: before, events: [] };
      const error = { code, detail };
      const finished_at = clock.now_ms();
      tx.endStages(plan_no, stage_no, finished_at);
      tx.updatePlan(plan_no, { phase, finished_at, error });
      const action = phase === 'aborted' ? 'plan.abort' : 'plan.fail';
      const audited = this.ports.truth.audit(tx, {
        actor: actor.role,
        action,
        outcome: 'ok',
        plan_id,
        data: error,
      });
      const told = tx.appendEvents([
        ...genesis.event('hxo.aggregate.failed', plan_id, error),
        ...genesis.event('hxo.plan', plan_id, { name, phase, revision: 1, error }),
      ]);
      return { phase, events: [...audited, ...told] };
    }, patience);
    this.waiting.delete(plan_id);
    const plan = this.live.get(plan_id);
    if (plan !== undefined && stored.phase === phase && plan.stopped === null) {
      plan.stopped = stop;
      plan.phase = phase;
      federation.drop(plan);
    }
    genesis.announce(stored.events);
    return stored.phase;
  }

  private startTimebox(plan: LivePlan): void {
    const { timebox_ms } = plan.spec.constraints;
    if (timebox_ms === null) return;
    // The monotonic clock stops with the process: what an earlier process used up is only known by the wall clock.
    const used_ms = plan.started_at === null ? 0 : Math.max(0, this.ports.clock.now_ms() - plan.started_at);
    const detail = `The plan ran longer than its timebox_ms of ${timebox_ms}.`;
    const stop = new PlanStopped('aborted', 'TIMEBOX_EXCEEDED', detail);
    const expire = (): void =>
      void this.stop(plan.plan_no, plan.plan_id, stop, { role: 'hxo' }, 'engine').catch((error: unknown) =>
        this.log.error(`Plan ${plan.plan_id} could not be aborted.`, error),
      );
    this.timeboxes.set(
      plan.plan_id,
      setTimeout(expire, Math.min(Math.max(0, timebox_ms - used_ms), timer_max_ms)),
    );
  }

  private forget(plan: LivePlan): void {
    clearTimeout(this.timeboxes.get(plan.plan_id));
    this.timeboxes.delete(plan.plan_id);
    if (!this.draining) this.live.delete(plan.plan_id);
  }
}
