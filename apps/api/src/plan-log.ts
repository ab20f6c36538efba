import type { GenesisBus, GenesisEvent, Topic } from '#genesis';
import {
  isTerminal,
  unfinished_phases,
  type Hxo,
  type Page,
  type PlanListItem,
  type PlanPhase,
  type StageView,
  type StatusView,
} from '#hxo';

/** Where lines go. */
export interface LineLog {
  info(message: string, fields?: object): void;
  warn(message: string, fields?: object): void;
}

interface Line {
  readonly level: 'info' | 'warn';
  readonly text: string;
}

/** How often plans that run are looked at: what a plan waits for, and that a stage has ended, is no event. */
const look_every_ms = 5_000;
/** Shards of a stage whose failures are told one by one: first those that are tried again, and as many that are not. */
const told_shards_max = 20;
const text_max_chars = 600;
const message_max_chars = 300;

const info = (text: string): Line => ({ level: 'info', text });
const warn = (text: string): Line => ({ level: 'warn', text });

/** What each topic comes to in the log. A topic that is not here is not logged: there may be a million of its events. */
const lines: {
  readonly [T in Topic]?: (data: GenesisEvent<T>['data'], status: StatusView | null) => Line[];
} = {
  'hxo.plan': ({ name, phase, error }, status) => {
    if (phase === 'submitted') return [info(`submitted (${name}).`)];
    if (phase === 'partitioning') return [info('is cut into shards.')];
    if (phase === 'running') return [info(`runs; ${countsOf(status)}.`)];
    if (phase === 'succeeded') return [info(`succeeded${secondsOf(status)}; ${countsOf(status)}.`)];
    if (error === null) return [];
    return [warn(`${phase}${secondsOf(status)}; ${countsOf(status)}. ${error.code}: ${error.detail}`)];
  },
  'hxo.aggregate.finalized': ({ merkle_root }) => [info(`certificate issued, root ${merkle_root}.`)],
  'hxo.alert': ({ code, detail }) => [warn(`${code}: ${detail}`)],
  'hxo.audit': ({ actor, action, outcome, data }) => {
    if (outcome !== 'ok') return [warn(`${action} (${actor}, ${outcome}): ${JSON.stringify(data)}`)];
    return actor === 'hxo' ? [] : [info(`${action} by ${actor}.`)];
  },
};

const topics = [...Object.keys(lines), 'hxo.shard.failed', 'hxo.aggregate.ready'] as Topic[];

/** What was told of a plan that runs. */
interface Told {
  readonly stages: Set<string>;
  /** Failures by stage, and whether the shard is tried again. */
  readonly failures: Map<string, number>;
  waiting: string | null;
  /** It had ended when it was last looked at. */
  ended: boolean;
}

/**
 * Tells the log of plans: their beginnings and ends, failures, alerts, certificates, what they wait for. It listens to the
 * Genesis bus, so that with GENESIS_MODE=disabled it is silent on new plans; no step of a plan waits for it.
 */
export class PlanLog {
  private readonly plans = new Map<string, Told>();
  private timer: NodeJS.Timeout | undefined;
  private looking = false;

  constructor(
    private readonly hxo: Hxo,
    private readonly log: LineLog,
  ) {}

  /** Listens from now on. Call it before plans are resumed, so that nothing of theirs is missed. */
  async listen(bus: GenesisBus): Promise<void> {
    for (const topic of topics) bus.subscribe(topic, (event) => this.hear(event));
    this.timer = setInterval(() => void this.look(), look_every_ms).unref();
    for (const phase of unfinished_phases) {
      try {
        await this.followAll(phase);
      } catch (error) {
        this.tell(null, warn(`Plans that are ${phase} cannot be listed: ${String(error)}`));
      }
    }
  }

  private async followAll(phase: PlanPhase): Promise<void> {
    let cursor: string | null = null;
    do {
      const query = { phase, limit: 1_000, ...(cursor !== null && { cursor }) };
      const page: Page<PlanListItem> = await this.hxo.plans(query);
      for (const { plan_id } of page.items) this.told(plan_id);
      cursor = page.next_cursor;
    } while (cursor !== null);
  }

  close(): void {
    clearInterval(this.timer);
  }

  /** Looks at every plan that runs, and tells what has changed since the last time, unless the last look still goes on. */
  async look(): Promise<void> {
    if (this.looking) return;
    this.looking = true;
    await this.lookAtAll().finally(() => (this.looking = false));
  }

  private async lookAtAll(): Promise<void> {
    for (const [plan_id, told] of this.plans) {
      try {
        const status = await this.hxo.status(plan_id);
        this.compare(status);
        // The event of its end may be on its way; without events, the next look forgets the plan.
        if (told.ended) this.plans.delete(plan_id);
        told.ended = isTerminal(status.phase);
      } catch (error) {
        this.plans.delete(plan_id);
        this.tell(plan_id, warn(`its status cannot be read: ${String(error)}`));
      }
    }
  }

  private async hear(event: GenesisEvent): Promise<void> {
    const { topic, plan_id, data } = event;
    if (topic === 'hxo.shard.failed') return this.tellFailures(plan_id, data);
    const looks = plan_id !== null && (topic === 'hxo.plan' || topic === 'hxo.aggregate.ready');
    const status = looks ? await this.hxo.status(plan_id) : null;
    // To the bus a phase is any text; plans write none but their own there.
    const over = topic === 'hxo.plan' && isTerminal(data.phase as PlanPhase);
    if (status !== null) {
      // Stages have ended before their plan, and are told first.
      if (over || topic === 'hxo.aggregate.ready') this.compare(status);
      else this.told(status.plan_id);
    }
    if (over && plan_id !== null) this.plans.delete(plan_id);
    const linesOf = lines[topic] as ((data: unknown, status: StatusView | null) => Line[]) | undefined;
    for (const line of linesOf?.(data, status) ?? []) this.tell(plan_id, line);
  }

  private told(plan_id: string): Told {
    const told = this.plans.get(plan_id) ?? {
      stages: new Set(),
      failures: new Map(),
      waiting: null,
      ended: false,
    };
    this.plans.set(plan_id, told);
    return told;
  }

  private compare(status: StatusView): void {
    const told = this.told(status.plan_id);
    for (const stage of status.stages) {
      if (stage.finished_at === null || told.stages.has(stage.id)) continue;
      told.stages.add(stage.id);
      this.tell(status.plan_id, stageLine(stage), stage.id);
    }
    // Numbers in it may change at every look; what a plan waits for is told when it is another thing.
    const waiting = status.waiting_for?.replace(/\d+/g, '#') ?? null;
    if (waiting !== told.waiting) {
      const goes_on = info('waits no longer.');
      this.tell(status.plan_id, waiting === null ? goes_on : warn(`waits for ${status.waiting_for}`));
      told.waiting = waiting;
    }
  }

  private tellFailures(
    plan_id: string | null,
    { stage, shards }: GenesisEvent<'hxo.shard.failed'>['data'],
  ): void {
    if (plan_id === null) return;
    const { failures } = this.told(plan_id);
    for (const { ordinal, attempt, code, message, final } of shards) {
      const kind = `${stage} ${final ? 'for good' : 'again'}`;
      const count = (failures.get(kind) ?? 0) + 1;
      failures.set(kind, count);
      if (count > told_shards_max) continue;
      const what = final ? 'failed for good' : 'failed and is tried again';
      const more = count === told_shards_max ? ' Further ones of this stage are only counted.' : '';
      const text = `stage ${stage}: shard ${ordinal} ${what}, attempt ${attempt}. ${code}: ${short(message, message_max_chars)}${more}`;
      this.tell(plan_id, final ? warn(text) : info(text), stage);
    }
  }

  private tell(plan_id: string | null, { level, text }: Line, stage?: string): void {
    const about = plan_id === null ? '' : `Plan ${plan_id}: `;
    this.log[level](about + short(text, text_max_chars), {
      ...(plan_id !== null && { plan_id }),
      ...(stage !== undefined && { stage }),
    });
  }
}

function stageLine(stage: StageView): Line {
  const text = `stage ${stage.id} ${stage.phase}${secondsOf(stage)}; ${countsOf(stage)}.`;
  return stage.phase === 'done' ? info(text) : warn(text);
}

function countsOf(view: StatusView | StageView | null): string {
  if (view === null) return 'shards unknown';
  const { total_shards, done_shards, reused_shards, failed_shards, skipped_shards } = view;
  return `shards: ${total_shards}, done ${done_shards} (reused ${reused_shards}), failed ${failed_shards}, skipped ${skipped_shards}`;
}

function secondsOf(view: StatusView | StageView | null): string {
  if (!view?.started_at || !view.finished_at) return '';
  return ` in ${(Date.parse(view.finished_at) - Date.parse(view.started_at)) / 1000} s`;
}

function short(text: string, max_chars: number): string {
  return text.length > max_chars ? `${text.slice(0, max_chars)}…` : text;
}
