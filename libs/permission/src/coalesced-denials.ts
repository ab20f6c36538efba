import { Logger, type OnApplicationShutdown } from '@nestjs/common';
import { DenialRecorder, type Denial } from './denial.js';

/** How often denials that were only counted are written down, in milliseconds. */
const flush_every_ms = 60_000;
/** Different denials told apart in that time. Callers choose paths: without a bound they could fill a disk. */
const distinct_denials_max = 100;

interface Counted {
  readonly denial: Denial;
  /** Denials that are not written down yet. */
  count: number;
}

/**
 * Writes a denial down at once, and counts those equal to it: they become one entry a minute, so that a flood of refused
 * requests fills no disk. Beyond 100 different ones, further ones are counted without their method and route, as `*`. What
 * is only counted is written at the latest when the application ends; a crash loses it.
 */
export abstract class CoalescedDenials extends DenialRecorder implements OnApplicationShutdown {
  private readonly logger = new Logger('Permission');
  private readonly seen = new Map<string, Counted>();
  private readonly timer = setInterval(() => void this.flush(), flush_every_ms).unref();

  /** Writes down that a denial was met `count` times. Resolves once that is durable. */
  protected abstract write(denial: Denial, count: number): Promise<void>;

  override async recordDenial(denial: Denial): Promise<void> {
    const told_apart = this.seen.has(keyOf(denial)) || this.seen.size < distinct_denials_max;
    const kind = told_apart ? denial : { ...denial, method: '*', route: '*' };
    const known = this.seen.get(keyOf(kind));
    if (known !== undefined) {
      known.count++;
      return;
    }
    const first = { denial: kind, count: 1 };
    this.seen.set(keyOf(kind), first);
    await this.writeDown(first);
  }

  /** Writes down what was counted, and forgets the denials that were not met again. */
  async flush(): Promise<void> {
    const writes = [...this.seen].map(async ([key, counted]) => {
      if (counted.count === 0) this.seen.delete(key);
      else await this.writeDown(counted);
    });
    for (const write of await Promise.allSettled(writes)) {
      if (write.status === 'rejected') {
        this.logger.error(`[HXO] Denials could not be audited yet: ${String(write.reason)}`);
      }
    }
  }

  async onApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    await this.flush();
  }

  private async writeDown(counted: Counted): Promise<void> {
    const { count } = counted;
    counted.count = 0;
    try {
      await this.write(counted.denial, count);
    } catch (error) {
      counted.count += count;
      throw error;
    }
  }
}

function keyOf({ role, method, route, reason }: Denial): string {
  return JSON.stringify([role, method, route, reason]);
}
