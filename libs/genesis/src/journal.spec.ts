import {
  appendFileSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { Journal, JournalError } from './journal.js';
import type { GenesisEvent } from './topics.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'hxo-journal-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const event = (id: number, detail = 'Größe'): GenesisEvent<'hxo.alert'> => ({
  id: String(id),
  topic: 'hxo.alert',
  time: '2025-10-11T20:00:00Z',
  plan_id: 'p1',
  data: { code: 'SLO_MISSED', stage: null, detail },
});

const path = (n: number) => join(folder, `events-${n}.ndjson`);
const ids = (n: number) =>
  readFileSync(path(n), 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => (JSON.parse(line) as { id: string }).id);

async function lastId(): Promise<string | null> {
  const journal = await Journal.open(folder);
  await journal.close();
  return journal.resumeFrom();
}

async function write(...numbers: number[]): Promise<void> {
  const journal = await Journal.open(folder);
  for (const id of numbers) journal.append(event(id));
  await journal.close();
}

describe('Journal', () => {
  it('appends events as lines and says where to go on', async () => {
    const journal = await Journal.open(folder);
    expect(journal.resumeFrom()).toBeNull();
    journal.append(event(1));
    journal.append(event(2));
    await journal.flush();
    expect(journal.resumeFrom()).toBe('2');
    expect(readFileSync(path(1), 'utf8')).toBe(`${JSON.stringify(event(1))}\n${JSON.stringify(event(2))}\n`);
    journal.append(event(3));
    await journal.close();
    expect(await lastId()).toBe('3');
    expect(ids(1)).toEqual(['1', '2', '3']);
  });

  it('skips what it has already, so that a backlog may overlap', async () => {
    await write(9, 10);
    const journal = await Journal.open(folder);
    for (const id of [8, 9, 10, 11, 11, 100]) journal.append(event(id));
    await journal.close();
    expect(ids(1)).toEqual(['9', '10', '11', '100']);
  });

  it('rotates, and keeps the newest segments', async () => {
    const journal = await Journal.open(folder, { segment_bytes: 1, segments_max: 3 });
    for (let id = 1; id <= 6; id++) {
      journal.append(event(id));
      await journal.flush();
    }
    await journal.close();
    expect(readdirSync(folder).sort()).toEqual(['events-4.ndjson', 'events-5.ndjson', 'events-6.ndjson']);
    expect([4, 5, 6].map((n) => ids(n))).toEqual([['4'], ['5'], ['6']]);
  });

  it('finds the last event in an older segment when the newest is empty', async () => {
    await write(1, 2);
    writeFileSync(path(2), '');
    const journal = await Journal.open(folder);
    expect(journal.resumeFrom()).toBe('2');
    journal.append(event(3));
    await journal.close();
    expect(ids(2)).toEqual(['3']);
  });

  it.each([
    ['half a line', '{"id":"9","topic":"hxo.al'],
    ['a line without its newline', JSON.stringify({ id: '9' })],
    ['zeros', '\0'.repeat(5000)],
    ['zeros and a newline', '\0'.repeat(5000) + '\n'],
    ['lines that are not events', '[]\nnull\n{"topic":"x"}\n\n'],
    ['half a character', Buffer.from([0xc3])],
  ])('cuts off %s', async (_, torn) => {
    await write(1, 2);
    appendFileSync(path(1), torn);
    const journal = await Journal.open(folder);
    expect(journal.resumeFrom()).toBe('2');
    journal.append(event(3));
    await journal.close();
    expect(ids(1)).toEqual(['1', '2', '3']);
  });

  it('recovers a prefix wherever the file is cut', async () => {
    const journal = await Journal.open(folder);
    // The second line is longer than the window in which a tail is first looked for.
    const events = [event(1), event(2, 'x'.repeat(70_000)), event(3)];
    for (const one of events) journal.append(one);
    await journal.close();
    const whole = readFileSync(path(1));
    const ends = events.map((_, i) =>
      Buffer.byteLength(
        events
          .slice(0, i + 1)
          .map((one) => JSON.stringify(one) + '\n')
          .join(''),
      ),
    );
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: whole.length }), async (cut) => {
        writeFileSync(path(1), whole);
        truncateSync(path(1), cut);
        const reopened = await Journal.open(folder);
        await reopened.close();
        const kept = ends.filter((end) => end <= cut);
        expect(reopened.resumeFrom()).toBe(kept.length === 0 ? null : String(kept.length));
        expect(readFileSync(path(1)).equals(whole.subarray(0, kept.at(-1) ?? 0))).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it('takes nothing more after it failed, so that it never has a gap', async () => {
    const failures: JournalError[] = [];
    const journal = await Journal.open(folder, {
      queue_bytes_max: 1000,
      onFailure: (error) => void failures.push(error),
    });
    journal.append(event(1));
    await journal.flush();
    journal.append(event(2, 'x'.repeat(2000)));
    journal.append(event(3));
    await expect(journal.flush()).rejects.toThrow(JournalError);
    await journal.close();
    expect(failures).toHaveLength(1);
    expect(ids(1)).toEqual(['1']);
    expect(await lastId()).toBe('1');
  });

  it('fails, and does not throw, when its folder is gone at rotation', async () => {
    const failures: JournalError[] = [];
    const journal = await Journal.open(folder, {
      segment_bytes: 1,
      onFailure: (error) => void failures.push(error),
    });
    journal.append(event(1));
    await journal.flush();
    rmSync(folder, { recursive: true });
    journal.append(event(2));
    await expect(journal.flush()).rejects.toThrow(/cannot be written/);
    await journal.close();
    expect(failures).toHaveLength(1);
  });
});
