import { Logger } from '@nestjs/common';
import type { EventEmitter2 } from '@nestjs/event-emitter';
import type { GenesisEvent, Topic } from './topics.js';

type Listener<T extends Topic> = (event: GenesisEvent<T>) => void | Promise<void>;

/** Emitter name under which every event passes, whatever its topic. */
const every_topic = 'genesis.*';

/**
 * Carries events to whoever listens in this process. Nothing depends on it: publishers publish after their commit, and
 * a listener that throws, or is slow, changes nothing for them. The event table is what is true.
 */
export class GenesisBus {
  private readonly logger = new Logger('Genesis');

  /** `enabled` false (GENESIS_MODE=disabled): `publish` does nothing. */
  constructor(
    private readonly emitter: EventEmitter2,
    readonly enabled: boolean,
  ) {}

  /** Tells the listeners. Returns after the synchronous part of each has run. Never throws. */
  publish(event: GenesisEvent): void {
    if (!this.enabled) return;
    for (const name of [event.topic, every_topic]) {
      try {
        this.emitter.emit(name, event);
      } catch (error) {
        // Only a listener put on the emitter behind the bus's back gets here; those of `subscribe` catch their own.
        this.report(event, error);
      }
    }
  }

  /** Does anybody listen to the topic? Spares the making of events that nobody hears. */
  hears(topic: Topic): boolean {
    return this.enabled && [topic, every_topic].some((name) => this.emitter.listenerCount(name) > 0);
  }

  /** Listens to one topic. Returns the function that ends it. */
  subscribe<T extends Topic>(topic: T, listener: Listener<T>): () => void {
    return this.listen(topic, listener as Listener<Topic>);
  }

  /** Listens to all topics, in the order of publication. Returns the function that ends it. */
  subscribeAll(listener: Listener<Topic>): () => void {
    return this.listen(every_topic, listener);
  }

  private listen(name: string, listener: Listener<Topic>): () => void {
    const guarded = async (event: GenesisEvent): Promise<void> => {
      try {
        await listener(event);
      } catch (error) {
        this.report(event, error);
      }
    };
    const call = (event: GenesisEvent): void => void guarded(event);
    this.emitter.on(name, call);
    return () => void this.emitter.off(name, call);
  }

  private report(event: GenesisEvent, error: unknown): void {
    this.logger.error(`[HXO] A listener of ${event.topic} failed on event ${event.id}: ${String(error)}`);
  }
}
