import type { GenesisBus, GenesisEvent, Journal, Topic } from '#genesis';
import type { Json } from '#truth';
import type { NewEvent, StoredEvent } from '../checkpoint/checkpoint-store.js';
import { utcSeconds, type Clock } from '../clock.js';
import type { EventView } from '../hxo.js';
import { parseRanges, printRanges } from '../schedule/ordinal-ranges.js';

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

  /** Tells the bus and the journal of events that are committed. */
  announce(events: readonly StoredEvent[]): void {
    for (const stored of events) {
      const event = eventView(stored) as unknown as GenesisEvent;
      this.bus.publish(event);
      this.journal?.append(event);
    }
  }

  /** Exports to the journal what a crash kept from it. */
  async catchUp(read: (after: number) => Promise<readonly StoredEvent[]>): Promise<void> {
    if (this.journal === null) return;
    for (let after = Number(this.journal.resumeFrom() ?? 0); ;) {
      const events = await read(after);
      if (events.length === 0) return;
      for (const event of events) this.journal.append(eventView(event) as unknown as GenesisEvent);
      await this.journal.flush();
      after = events.at(-1)!.id;
    }
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
