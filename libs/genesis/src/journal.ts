import { mkdir, open, rm, truncate, type FileHandle } from 'node:fs/promises';
import type { GenesisEvent } from './topics.js';
import { readTail, segmentNumbers, segmentPath, type Tail } from './journal-files.js';

export interface JournalOptions {
  /** A segment that has reached this many bytes is closed and the next one begun. 64 MiB. */
  readonly segment_bytes?: number;
  /** Segments kept, the current one included. 8. */
  readonly segments_max?: number;
  /** Bytes that may wait for the disk; more, and the journal fails rather than eat the memory. 16 MiB. */
  readonly queue_bytes_max?: number;
  /** Called when the journal fails, once for each time that it was open. */
  readonly onFailure?: (error: JournalError) => void;
}

/** Thrown when events can no longer be appended. What is missing is in the event table: open the journal again. */
export class JournalError extends Error {
  override readonly name = 'JournalError';
}

/**
 * The rotated export of events: `events-<n>.ndjson`, one JSON object a line, in the order of their ids. The event
 * table is authoritative; the journal may lag behind it, or end in a torn line after a crash, but never has a gap:
 * after a failed write it takes nothing more until {@link reopen}; {@link resumeFrom} then says where to go on.
 */
export class Journal {
  private queue: string[] = [];
  private queued_bytes = 0;
  /** Id of the newest event that was taken; `last_id` catches up with it when the queue is written. */
  private taken_id: string | null;
  private writing: Promise<void> | null = null;
  private failure: JournalError | null = null;
  private closed = false;

  private constructor(
    private readonly folder: string,
    private readonly options: Required<JournalOptions>,
    private end: JournalEnd,
  ) {
    this.taken_id = end.last_id;
  }

  /** Opens the journal of a folder (made when missing) and cuts off what a crash left half written. */
  static async open(folder: string, options: JournalOptions = {}): Promise<Journal> {
    const settled = {
      segment_bytes: 64 * 1024 * 1024,
      segments_max: 8,
      queue_bytes_max: 16 * 1024 * 1024,
      onFailure: () => {},
      ...options,
    };
    return new Journal(folder, settled, await openEnd(folder));
  }

  /** Opens a journal that failed once more: it takes events again. Throws when its folder cannot be read or written. */
  async reopen(): Promise<void> {
    await this.writing;
    if (this.closed || this.failure === null) return;
    const end = await openEnd(this.folder);
    // Its descriptor may be what failed.
    await this.end.file.close().catch(() => {});
    this.end = end;
    this.taken_id = end.last_id;
    this.failure = null;
  }

  /** Why the journal takes nothing at present, in words, or null. */
  problem(): string | null {
    return this.failure?.message ?? null;
  }

  /** Id of the last event in the files, or null: later ones are to be appended again, from the event table. */
  resumeFrom(): string | null {
    return this.end.last_id;
  }

  /**
   * Queues an event; a batch is written as soon as the disk is free. Events come in the order of their ids; one that
   * the journal has already is skipped. Never throws: {@link flush} tells.
   * @param text the event as JSON, where the caller has it
   */
  append(event: Pick<GenesisEvent, 'id'>, text = JSON.stringify(event)): void {
    if (this.closed || this.failure !== null) return;
    if (this.taken_id !== null && BigInt(event.id) <= BigInt(this.taken_id)) return;
    const line = `${text}\n`;
    this.queue.push(line);
    this.queued_bytes += Buffer.byteLength(line);
    if (this.queued_bytes > this.options.queue_bytes_max) {
      this.fail(new JournalError(`The disk is too slow for the journal in ${this.folder}.`));
      return;
    }
    this.taken_id = event.id;
    this.writing ??= this.drain();
  }

  /** Resolves when all that was appended is in the files. Throws {@link JournalError} when some of it cannot be. */
  async flush(): Promise<void> {
    await this.writing;
    if (this.failure !== null) throw this.failure;
  }

  /** Writes what is queued, syncs and closes. The journal takes nothing afterwards. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.writing;
    const { file } = this.end;
    if (this.failure === null) await file.datasync();
    await file.close();
  }

  private async drain(): Promise<void> {
    // Events of one turn of the event loop go into one write.
    await Promise.resolve();
    try {
      while (this.queue.length > 0 && this.failure === null) {
        const batch = Buffer.from(this.queue.join(''));
        const batch_id = this.taken_id;
        this.queue = [];
        this.queued_bytes = 0;
        if (this.end.bytes >= this.options.segment_bytes) await this.rotate();
        await this.end.file.appendFile(batch);
        this.end.bytes += batch.length;
        this.end.last_id = batch_id;
      }
    } catch (error) {
      this.fail(
        new JournalError(`The journal in ${this.folder} cannot be written: ${String(error)}`, {
          cause: error,
        }),
      );
    } finally {
      this.writing = null;
    }
  }

  private async rotate(): Promise<void> {
    const { file, segment, last_id } = this.end;
    await file.datasync();
    const next = await open(segmentPath(this.folder, segment + 1), 'a', 0o600);
    await file.close();
    this.end = { file: next, segment: segment + 1, bytes: 0, last_id };
    for (const number of await segmentNumbers(this.folder)) {
      if (number <= this.end.segment - this.options.segments_max) await rm(segmentPath(this.folder, number));
    }
  }

  private fail(error: JournalError): void {
    this.failure = error;
    this.queue = [];
    this.queued_bytes = 0;
    this.options.onFailure(error);
  }
}

/** Where a journal goes on: its newest segment, the bytes in that, and the id of the last event in the files. */
interface JournalEnd {
  readonly file: FileHandle;
  readonly segment: number;
  bytes: number;
  last_id: string | null;
}

async function openEnd(folder: string): Promise<JournalEnd> {
  await mkdir(folder, { recursive: true });
  const numbers = await segmentNumbers(folder);
  const segment = numbers.at(-1) ?? 1;
  const tails: Tail[] = [];
  // A crash just after a rotation leaves the newest segment empty: the last event is then in an older one.
  for (const number of numbers.reverse()) {
    const path = segmentPath(folder, number);
    const tail = await readTail(path);
    await truncate(path, tail.bytes);
    tails.push(tail);
    if (tail.last_id !== null) break;
  }
  const file = await open(segmentPath(folder, segment), 'a', 0o600);
  return { file, segment, bytes: tails[0]?.bytes ?? 0, last_id: tails.at(-1)?.last_id ?? null };
}
