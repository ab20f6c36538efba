import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { jest } from '@jest/globals';
import { Journal, type GenesisBus, type GenesisEvent } from '#genesis';
import type { StoredEvent } from '../checkpoint/checkpoint-store.js';
import { system_clock } from '../clock.js';
import { eventText, eventView, GenesisLink } from './genesis.link.js';

let folder: string;
let journal: Journal;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hxo-genesis-link-'));
  // Every batch is a segment of its own: the next one fails when the folder is gone.
  journal = await Journal.open(folder, { segment_bytes: 1, segments_max: 1_000 });
});
afterEach(async () => {
  await journal.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The event table: what is committed may be read, whether or not it was announced. */
let table: StoredEvent[];
beforeEach(() => void (table = []));
const read = (after: number): Promise<StoredEvent[]> =>
  Promise.resolve(table.filter(({ id }) => id > after).slice(0, 3));
const commit = (count: number): StoredEvent[] => {
  const fresh = Array.from({ length: count }, (_, i) => ({
    ...{ id: table.length + i + 1, topic: 'hxo.aggregate.ready', time: 0 },
    ...{ plan_id: null, data: { leaves: 1 } },
  }));
  table.push(...fresh);
  return fresh;
};

let told: string[];
const link = (): GenesisLink => {
  told = [];
  const bus = { enabled: true, hears: () => true, publish: ({ id }: GenesisEvent) => void told.push(id) };
  return new GenesisLink(bus as unknown as GenesisBus, journal, system_clock, {
    ...{ batch_size: 100, max_rate: 1_000 },
  });
};

const upTo = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i + 1));
const journaled = (from = folder): string[] =>
  readdirSync(from)
    .sort((a, b) => Number(/\d+/.exec(a)) - Number(/\d+/.exec(b)))
    .flatMap((name) => readFileSync(join(from, name), 'utf8').split('\n').slice(0, -1))
    .map((line) => (JSON.parse(line) as { id: string }).id);

it('tells of events in the order of their ids, in whatever order their commits are announced', async () => {
  const genesis = link();
  commit(7);
  await genesis.catchUp(read);
  const [first, second, third] = [commit(2), commit(1), commit(3)];
  genesis.announce(third);
  await Promise.resolve();
  genesis.announce(first);
  await Promise.resolve();
  genesis.announce(second);
  await turn();
  await journal.flush();
  expect(told).toEqual(upTo(13).slice(7));
  expect(journaled()).toEqual(upTo(13));
});

it('exports what is told while the journal catches up', async () => {
  const genesis = link();
  commit(5);
  const slowly = async (after: number): Promise<StoredEvent[]> => {
    const events = await read(after);
    // Committed and told after the read, before the journal is told of anything.
    if (after === 5 && table.length === 5) genesis.announce(commit(2));
    await turn();
    await turn();
    return events;
  };
  await genesis.catchUp(slowly);
  genesis.announce(commit(1));
  await turn();
  await journal.flush();
  expect(journaled()).toEqual(upTo(8));
});

describe('a journal that cannot be written', () => {
  const away = (): string => `${folder}-away`;
  afterEach(() => {
    jest.useRealTimers();
    rmSync(away(), { recursive: true, force: true });
  });

  /** Lets the time pass after which the journal is opened again, then waits until it is. */
  const reopened = async (): Promise<void> => {
    jest.advanceTimersByTime(5_000);
    const limit = performance.now() + 10_000;
    while (performance.now() < limit && journaled().length < table.length) await turn();
  };

  it('keeps nothing from being told, is named, and holds all of it once it can be written', async () => {
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'performance'] });
    const genesis = link();
    await genesis.catchUp(read);
    genesis.announce(commit(2));
    await turn();
    await journal.flush();
    renameSync(folder, away());
    genesis.announce(commit(2));
    await turn();
    await expect(journal.flush()).rejects.toThrow('cannot be written');
    genesis.announce(commit(3));
    await turn();
    expect(told).toEqual(upTo(7));
    expect(genesis.problems().join()).toContain('cannot be written');
    renameSync(away(), folder);
    await reopened();
    genesis.announce(commit(1));
    await turn();
    await journal.flush();
    expect(genesis.problems()).toEqual([]);
    expect(journaled()).toEqual(upTo(8));
  });

  it('refuses no start', async () => {
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'performance'] });
    const genesis = link();
    commit(7);
    renameSync(folder, away());
    await genesis.catchUp(read);
    expect(genesis.problems().join()).toContain('cannot be written');
    renameSync(away(), folder);
    await reopened();
    expect(journaled()).toEqual(upTo(7));
  });
});

it.each<StoredEvent['data']>([
  { stage: 's', ordinals: '0-2,7', attempt: 3, reused: false },
  { stage: 's', ordinals: '5' },
  { ordinals: '5', attempt: 1 },
  { stage: 's', shards: [{ ordinal: 1, code: 'C' }] },
  {},
])('prints %j as its view is printed', (data) => {
  const event = { id: 7, topic: 'hxo.shard.done', time: 1_763_900_000_123, plan_id: 'p', data };
  expect(eventText(event)).toBe(JSON.stringify(eventView(event)));
});

it('hands the journal what was announced just before it is closed', async () => {
  const genesis = link();
  await genesis.catchUp(read);
  genesis.announce(commit(3));
  await genesis.close();
  expect(journaled()).toEqual(upTo(3));
});
