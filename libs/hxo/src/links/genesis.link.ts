import { JournalError, type GenesisBus, type GenesisEvent, type Journal, type Topic } from '#genesis';
import type { Json } from '#truth';
import type { NewEvent, StoredEvent } from '../checkpoint/checkpoint-store.js';
import { utcSeconds, type Clock } from '../clock.js';
import type { EventView } from '../hxo.js';
import { parseRanges, printRanges } from '../schedule/ordinal-ranges.js';

/** Wait before a journal that failed is opened again. */
const reopen_after_ms = 5_000;

/** Reads stored events with ids over `after`, oldest first. */
type ReadEvents = (after: number) => Promise<readonly StoredEvent[]>;

export interface GenesisLimits {
  /** Shards in one event (HXO_EVENT_BATCH_SIZE). */
  readonly batch_size: number;
  /** Shard events a second (HXO_EVENT_MAX_RATE); failures are never dropped. */
  readonly max_rate: number;
}

/**
 * Makes events of what happens, stores nothing itself: events are committed together with what they tell of, and
 * announced after the commit. With `GENESIS_MODE=disabled` there are none; no step of a plan waits for one.
 */
export class GenesisLink {
  private second = 0;
  private spent = 0;
  private fresh: StoredEvent[] = [];
  /** Id of the newest event that was told. */
  private told_id = 0;
  /** Does the journal hold all that was told, so that it may be handed what comes next? */
  private follows = false;
  private read: ReadEvents | null = null;

  constructor(
    private readonly bus: GenesisBus,
    private readonly journal: Journal | null,
    private readonly clock: Clock,
    private readonly limits: GenesisLimits,
  ) {}

  event(topic: Topic, plan_id: string | null, data: Readonly<Record<string, Json>>): NewEvent[] {
    return this.bus.enabled ? [{ topic, plan_id, time: this.clock.now_ms(), data }] : [];
  }

  /** Events on shards of one stage, at most `batch_size` shards each; those over the rate limit are left out. */
  shards(
    topic: 'hxo.shard.created' | 'hxo.shard.claimed' | 'hxo.shard.done',
    plan_id: string,
    stage: string,
    ordinals: readonly number[],
    same: Readonly<Record<string, Json>> = {},
  ): NewEvent[] {
    const events: NewEvent[] = [];
    for (let at = 0; at < ordinals.length; at += this.limits.batch_size) {
      if (!this.withinRate()) continue;
      const batch = ordinals.slice(at, at + this.limits.batch_size);
      events.push(...this.event(topic, plan_id, { stage, ordinals: printRanges(batch), ...same }));
    }
    return events;
  }

  /** Failures of shards, every one of them. */
  failures(plan_id: string, stage: string, shards: readonly Readonly<Record<string, Json>>[]): NewEvent[] {
    const events: NewEvent[] = [];
    for (let at = 0; at < shards.length; at += this.limits.batch_size) {
      const batch = shards.slice(at, at + this.limits.batch_size);
      events.push(...this.event('hxo.shard.failed', plan_id, { stage, shards: batch }));
    }
    return events;
  }

  /**
   * Tells the bus and the journal of events that are committed, in the order of their ids. Call it as soon as the write
   * has resolved, with no wait in between: commits that share a batch are announced in any order, but all of them before
   * the event loop turns, and are sorted then.
   */
  announce(events: readonly StoredEvent[]): void {
    if (events.length === 0) return;
    if (this.fresh.length === 0) setImmediate(() => this.tell());
    this.fresh.push(...events);
  }

  /**
   * Exports to the journal what a crash, or a failure of the journal, kept from it; from then on it is told of every
   * event. A journal that cannot be written is opened again later: events are stored all the same.
   */
  async catchUp(read: ReadEvents): Promise<void> {
    const { journal } = this;
    if (journal === null) return;
    this.read = read;
    try {
      for (let after = Number(journal.resumeFrom() ?? 0); ;) {
        const events = await read(after);
        // What was told while this read was under way is read by the next one.
        if (events.length === 0 && this.told_id <= after) break;
        for (const event of events) journal.append({ id: String(event.id) }, eventText(event));
        await journal.flush();
        after = events.at(-1)?.id ?? after;
      }
      this.follows = true;
    } catch (error) {
      if (!(error instanceof JournalError)) throw error;
      this.reopenLater();
    }
  }

  /** What keeps the journal from being written, in words; empty when nothing does. */
  problems(): readonly string[] {
    const problem = this.journal?.problem() ?? null;
    return problem === null ? [] : [problem];
  }

  /** Hands the journal what was announced last, and closes it. For when the store takes nothing more. */
  async close(): Promise<void> {
    this.tell();
    await this.journal?.close();
  }

  private tell(): void {
    const events = this.fresh.sort((a, b) => a.id - b.id);
    this.fresh = [];
    for (const stored of events) {
      if (this.bus.hears(stored.topic as Topic))
        this.bus.publish(eventView(stored) as unknown as GenesisEvent);
      if (this.follows) this.journal?.append({ id: String(stored.id) }, eventText(stored));
      this.told_id = stored.id;
    }
    if (!this.follows) return;
    this.journal?.flush().catch(() => {
      if (this.follows) this.reopenLater();
    });
  }

  /** Hands the journal nothing more, and tries every few seconds to export what it misses. */
  private reopenLater(): void {
    this.follows = false;
    const reopen = async (): Promise<void> => {
      try {
        await this.journal!.reopen();
        await this.catchUp(this.read!);
      } catch {
        this.reopenLater();
      }
    };
    setTimeout(() => void reopen(), reopen_after_ms).unref();
  }

  private withinRate(): boolean {
    const second = Math.floor(this.clock.monotonic_ms() / 1000);
    if (second !== this.second) {
      this.second = second;
      this.spent = 0;
    }
    return ++this.spent <= this.limits.max_rate;
  }
}

/**
 * A stored event as readers see it. Rows keep shards as ranges with what they have in common (`ordinals: "0-99"`,
 * `attempt: 1`); here each shard gets its own entry.
 */
export function eventView(event: StoredEvent): EventView {
  const { ordinals, attempt, reused, ...data } = event.data;
  const same = { ...(attempt === undefined ? {} : { attempt }), ...(reused === undefined ? {} : { reused }) };
  const shards =
    typeof ordinals === 'string' ? parseRanges(ordinals).map((ordinal) => ({ ordinal, ...same })) : null;
  return {
    id: String(event.id),
    topic: event.topic,
    time: utcSeconds(event.time),
    plan_id: event.plan_id,
    data: shards === null ? event.data : { ...data, shards },
  };
}

/** The JSON of {@link eventView}. The entries of shards are put together as text: there may be 100,000 of them a second. */
export function eventText(event: StoredEvent): string {
  const { ordinals, attempt, reused, ...data } = event.data;
  if (typeof ordinals !== 'string') return JSON.stringify(eventView(event));
  const same = JSON.stringify({ attempt, reused }).slice(1);
  const rest = same === '}' ? same : `,${same}`;
  const shards = parseRanges(ordinals).map((ordinal) => `{"ordinal":${ordinal}${rest}`);
  const head = JSON.stringify({ ...eventView({ ...event, data }), data }).slice(0, -2);
  return `${head}${Object.keys(data).length === 0 ? '' : ','}"shards":[${shards.join(',')}]}}`;
}
