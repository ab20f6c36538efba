import type { Redis } from 'ioredis';
import { owner_key } from './names.js';
import { listWorkers, type WorkerCard } from './worker-registry.js';

const every_ms = 1_000;
/** What Redis said counts for so long. Once it is older, Redis is away or hangs, and nothing is handed to it. */
const valid_ms = 5_000;
/** The Redis of an HXO that was not heard of for so long is free. */
const owner_ms = 8_000;

/**
 * Looks every second whether Redis answers, takes writes, is this HXO's own and keeps what it is given, and who works there.
 * Everything that is asked of it is answered from what it saw last: nobody waits for a Redis that hangs.
 */
export class RedisWatch {
  private seen: readonly WorkerCard[] = [];
  private policy: string | null = null;
  private seen_ms = -Infinity;
  private last_error: string | null = null;
  private other_owner: string | null = null;
  private looking = false;
  private timer: NodeJS.Timeout | null = null;

  /** @param owner names this HXO, the same after every start */
  constructor(
    private readonly redis: Redis,
    private readonly owner: string,
    private readonly log: (message: string) => void,
  ) {}

  /** @param changed called after each look that Redis answered */
  start(changed: () => Promise<void>): void {
    this.timer = setInterval(() => void this.look(changed), every_ms);
    void this.look(changed);
  }

  stop(): void {
    if (this.timer !== null) clearInterval(this.timer);
    this.timer = null;
  }

  /** May bundles be handed to Redis? */
  get usable(): boolean {
    return this.answers && this.other_owner === null;
  }

  /** Are the reports in Redis for this HXO? Also while it takes no writes: reading them makes room. */
  get owned(): boolean {
    return this.seen_ms > -Infinity && this.other_owner === null;
  }

  /** The workers that are there; none while Redis cannot be used. */
  get workers(): readonly WorkerCard[] {
    return this.usable ? this.seen : [];
  }

  /** What is wrong with Redis, in words; empty when nothing is. */
  problems(): readonly string[] {
    if (!this.answers) return [`Redis cannot be used: ${this.last_error ?? 'it does not answer'}.`];
    if (this.other_owner !== null) {
      return [
        `Redis is used by another HXO (${this.other_owner}). Give each a Redis, or a database of it (redis://host:port/1), of its own.`,
      ];
    }
    if (this.policy === null || this.policy === 'noeviction') return [];
    return [`Redis evicts keys (maxmemory-policy is ${this.policy}): set it to noeviction, or work is lost.`];
  }

  /** Tells of an error, once as long as it stays the same. */
  complain(error: Error): void {
    if (this.last_error === error.message) return;
    this.last_error = error.message;
    this.log(`Redis: ${error.message}`);
  }

  private get answers(): boolean {
    return this.redis.status === 'ready' && performance.now() - this.seen_ms < valid_ms;
  }

  /** A Redis that does not answer is asked once: the question waits until it does. */
  private async look(changed: () => Promise<void>): Promise<void> {
    if (this.looking) return;
    this.looking = true;
    try {
      const seen = await listWorkers(this.redis);
      this.policy = evictionPolicy(await this.redis.info('memory'));
      this.other_owner = await this.claim();
      this.seen = seen;
      this.seen_ms = performance.now();
      this.last_error = null;
      await changed();
    } catch (error) {
      if (this.timer !== null) this.complain(error as Error);
    } finally {
      this.looking = false;
    }
  }

  /**
   * Makes this HXO the owner of a Redis that has none, or goes on being it. Returns the other that it has. Being a write, it
   * fails when Redis is out of memory.
   */
  private async claim(): Promise<string | null> {
    await this.redis.set(owner_key, this.owner, 'PX', owner_ms, 'NX');
    const owner = await this.redis.get(owner_key);
    if (owner !== this.owner) return owner;
    await this.redis.set(owner_key, this.owner, 'PX', owner_ms, 'XX');
    return null;
  }
}

/** Of what INFO says; null when it does not say. CONFIG is forbidden in many a managed Redis. */
function evictionPolicy(info: string): string | null {
  return /^maxmemory_policy:(\S+)/m.exec(info)?.[1] ?? null;
}
