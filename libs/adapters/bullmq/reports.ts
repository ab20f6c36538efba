import type { Redis } from 'ioredis';
import { report_consumer, report_group, report_stream } from './names.js';
import { SealBroken, type Seal } from './seal.js';
import { parseReport, printReport, type Report } from './wire.js';

/** Appends a report. Resolves when Redis has it. */
export async function writeReport(redis: Redis, seal: Seal, report: Report): Promise<void> {
  await redis.xadd(report_stream, '*', 'r', seal.close(printReport(report)));
}

/** Reports read at a time. */
const read_count = 64;
/** Text after which the event loop turns: some 2,000 quick shards, a few milliseconds of work. */
const turn_chars_max = 262_144;
const block_ms = 500;
const pause_ms = 500;
const unowned_poll_ms = 50;
const catch_up_polls = 20;
const catch_up_poll_ms = 50;

/**
 * Reads the stream of reports: first those that an earlier process read and did not acknowledge, then new ones. A report is
 * deleted only after `take` has resolved, so what is not committed is read again.
 */
export class ReportReader {
  private running = true;
  private loop: Promise<void> | null = null;
  private readonly under_way = new Set<Promise<void>>();

  /**
   * @param reading a connection of its own: reading blocks it
   * @param acting the connection that acknowledges
   * @param mine are the reports for this reader? Until they are, nothing is read.
   */
  constructor(
    private readonly reading: Redis,
    private readonly acting: Redis,
    private readonly seal: Seal,
    private readonly take: (report: Report) => Promise<void>,
    private readonly onError: (error: Error) => void,
    private readonly mine: () => boolean,
  ) {}

  start(): void {
    this.loop = this.run();
  }

  async stop(): Promise<void> {
    this.running = false;
    await this.loop;
    await Promise.allSettled(this.under_way);
  }

  /** Waits, a second at most, until every report that is in the stream now is taken. False when some are not. */
  async caughtUp(): Promise<boolean> {
    const [last] = await this.acting.xrevrange(report_stream, '+', '-', 'COUNT', 1);
    if (last === undefined) return true;
    for (let polls = 0; polls < catch_up_polls; polls++) {
      await new Promise((resolve) => setTimeout(resolve, catch_up_poll_ms));
      if ((await this.acting.xrange(report_stream, '-', last[0], 'COUNT', 1)).length === 0) return true;
    }
    return false;
  }

  private async run(): Promise<void> {
    let from = '0';
    let grouped = false;
    while (this.running) {
      if (!this.mine()) {
        await new Promise((resolve) => setTimeout(resolve, unowned_poll_ms));
        continue;
      }
      try {
        if (!grouped) {
          await this.makeGroup();
          grouped = true;
          from = '0';
        }
        const entries = await this.read(from);
        if (from === '0' && entries.length < read_count) from = '>';
        // One batch at a time: what is read and not committed is bounded by it.
        await this.handleAll(entries);
      } catch (error) {
        // NOGROUP: Redis came back empty, and the group must be made again.
        grouped = false;
        if (this.running) this.onError(error as Error);
        await new Promise((resolve) => setTimeout(resolve, pause_ms));
      }
    }
  }

  private async makeGroup(): Promise<void> {
    await this.acting.xgroup('CREATE', report_stream, report_group, '0', 'MKSTREAM').catch((error: Error) => {
      if (!error.message.startsWith('BUSYGROUP')) throw error;
    });
  }

  private async read(from: string): Promise<[string, string[]][]> {
    const answer = (await this.reading.xreadgroup(
      'GROUP',
      report_group,
      report_consumer,
      'COUNT',
      read_count,
      'BLOCK',
      block_ms,
      'STREAMS',
      report_stream,
      from,
    )) as [string, [string, string[]][]][] | null;
    return answer?.[0]?.[1] ?? [];
  }

  /** Handles entries together, so that they share commits. Much text goes in turns: requests must not wait for all of it. */
  private async handleAll(entries: readonly [string, string[]][]): Promise<void> {
    const handled: Promise<void>[] = [];
    let chars = 0;
    for (const entry of entries) {
      const work = this.handle(entry);
      // A rejection is for the end: until then nobody awaits it.
      work.catch(() => undefined);
      handled.push(work);
      chars += entry[1]?.[1]?.length ?? 0;
      if (chars < turn_chars_max) continue;
      chars = 0;
      await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all(handled);
  }

  private async handle([id, fields]: [string, string[]]): Promise<void> {
    const work = this.takeOne(fields?.[1] ?? '');
    this.under_way.add(work);
    try {
      await work;
    } finally {
      this.under_way.delete(work);
    }
    await this.acting.multi().xack(report_stream, report_group, id).xdel(report_stream, id).exec();
  }

  private async takeOne(sealed: string): Promise<void> {
    let report: Report;
    try {
      report = parseReport(this.seal.open(sealed));
    } catch (error) {
      // Not ours, or damaged: nothing can be accepted from it, and its lease will be found missing.
      this.onError(error instanceof SealBroken ? error : new Error('A report in Redis is not JSON.'));
      return;
    }
    try {
      await this.take(report);
    } catch (error) {
      // While the store is away it is read again later. Whatever else goes wrong with it would do so for ever.
      if ((error as Error).name === 'StoreUnavailable') throw error;
      this.onError(error as Error);
    }
  }
}
