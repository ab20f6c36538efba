import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { DataSource } from 'typeorm';
import { sha256 } from '#truth';
import { StoreUnavailable, type NewEvent, type Patience, type Segment, type StoredEvent } from '#hxo';
import { entities } from './entities.js';
import { InitialSchema1763900000000 } from './initial-schema.migration.js';
import { StoreInUse } from './open-store.js';
import { SqliteCheckpointStore } from './sqlite-checkpoint-store.js';

const failures: Error[] = [];
let dir: string;
let path: string;
let store: SqliteCheckpointStore;

const open = (): Promise<SqliteCheckpointStore> =>
  SqliteCheckpointStore.open(path, (error) => void failures.push(error));
const event = (n: number, text = ''): NewEvent => ({
  topic: 'hxo.alert',
  time: n,
  plan_id: null,
  data: { n, text },
});
const append = (n: number, patience: Patience = 'engine', text = ''): Promise<StoredEvent[]> =>
  store.write((tx) => tx.appendEvents([event(n, text)]), patience);
const stored = async (): Promise<unknown[]> =>
  (await store.events({ after: 0, limit: 10_000 })).map(({ data }) => data.n);
const pragma = (text: string): unknown =>
  (store as unknown as { db: Database.Database }).db.pragma(text, { simple: true });

/** Holds the write lock of the file, as another process would. */
function lockFile(): { release(): void } {
  const other = new Database(path);
  other.exec('BEGIN IMMEDIATE');
  return { release: () => void other.close() };
}

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'hxo-store-'));
  path = join(dir, 'checkpoints.db');
  store = await open();
});

afterEach(async () => {
  await store.close();
  rmSync(dir, { recursive: true });
  expect(failures.splice(0)).toEqual([]);
});

describe('schema', () => {
  it('is the same in entities and migrations', async () => {
    const source = new DataSource({
      type: 'better-sqlite3',
      database: join(dir, 'schema.db'),
      entities,
      migrations: [InitialSchema1763900000000],
      migrationsRun: true,
    });
    await source.initialize();
    const { upQueries } = await source.driver.createSchemaBuilder().log();
    expect(upQueries.map(({ query }) => query)).toEqual([]);
    await source.undoLastMigration();
    const tables: unknown = await source.query(
      `SELECT name FROM sqlite_master WHERE name IN ('plan', 'result')`,
    );
    expect(tables).toEqual([]);
    await source.destroy();
  });
});

describe('durability', () => {
  it('is set on the connection, and stays set after writes', async () => {
    await append(1);
    expect(pragma('journal_mode')).toBe('wal');
    expect(pragma('synchronous')).toBe(2);
    expect(pragma('busy_timeout')).toBeLessThanOrEqual(100);
  });

  it('keeps every acknowledged write of 200 interleaved writers, readable after a restart', async () => {
    const acknowledged: number[] = [];
    const writer = async (n: number): Promise<void> => {
      for (let i = 0; i < 5; i++) {
        const id = n * 5 + i;
        await append(id);
        acknowledged.push(id);
        if (id % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    };
    await Promise.all(Array.from({ length: 200 }, (_, n) => writer(n)));
    await store.close();
    store = await open();
    expect(acknowledged).toHaveLength(1_000);
    expect((await stored()).sort()).toEqual(acknowledged.sort());
  });

  it('keeps what was acknowledged when the process ends without closing', async () => {
    await append(1);
    const acknowledged = append(2);
    await acknowledged;
    // A second connection sees what a recovering process would see: the committed state, out of the WAL.
    const reader = new Database(path, { readonly: true });
    expect(reader.prepare('SELECT count(*) FROM event').pluck().get()).toBe(2);
    reader.close();
  });
});

describe('the writer', () => {
  it('writes in the order of the calls', async () => {
    await Promise.all(Array.from({ length: 600 }, (_, n) => append(n)));
    expect(await stored()).toEqual(Array.from({ length: 600 }, (_, n) => n));
  });

  it('takes shards that wait for company along with a step of a plan, which does not wait', async () => {
    const { db } = store as unknown as { db: Database.Database };
    const exec = db.exec.bind(db);
    let commits = 0;
    db.exec = (sql) => {
      if (sql === 'COMMIT') commits++;
      return exec(sql);
    };
    await append(1);
    for (const patience of ['engine', 'request'] as const) {
      commits = 0;
      const shards = [append(2, 'shards'), append(3, 'shards')];
      await append(4, patience);
      await Promise.all(shards);
      expect(commits).toBe(1);
    }
    expect(await stored()).toEqual([1, 2, 3, 4, 2, 3, 4]);
  });

  it('undoes only the job that throws, and tells its caller why', async () => {
    const failing = store.write((tx) => {
      tx.appendEvents([event(2)]);
      throw new Error('no such plan');
    }, 'engine');
    const settled = await Promise.allSettled([append(1), failing, append(3)]);
    expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(settled[1]).toMatchObject({ reason: { message: 'no such plan' } });
    expect(await stored()).toEqual([1, 3]);
  });

  it('undoes only the job that breaks a constraint', async () => {
    const twice = store.write((tx) => {
      const certificate = { digest: 'a'.repeat(64) as never, bytes: 1 };
      const row = {
        envelope: {},
        key_id: certificate.digest,
        public_key: '',
        leaves: certificate,
        records: certificate,
      };
      tx.insertCertificate(1, 1, row);
      tx.insertCertificate(1, 1, row);
    }, 'request');
    const [, refused] = await Promise.allSettled([append(1), twice]);
    expect(refused).toMatchObject({ status: 'rejected', reason: { code: 'SQLITE_CONSTRAINT_PRIMARYKEY' } });
    expect(await stored()).toEqual([1]);
    expect(store.certificate(1, 1)).toBeNull();
  });

  it('commits jobs that wait together in one transaction', async () => {
    const { db } = store as unknown as { db: Database.Database };
    let commits = 0;
    const exec = db.exec.bind(db);
    db.exec = (sql) => {
      if (sql === 'COMMIT') commits++;
      return exec(sql);
    };
    await Promise.all(Array.from({ length: 100 }, (_, n) => append(n)));
    expect(commits).toBeLessThan(10);
    expect(await stored()).toHaveLength(100);
  });

  it('refuses writes after it was closed', async () => {
    const last = append(1);
    const closing = store.close();
    await expect(append(2)).rejects.toThrow(StoreUnavailable);
    await last;
    await closing;
    store = await open();
    expect(await stored()).toEqual([1]);
  });
});

describe('a store that another program locks', () => {
  it('rejects requests at once and lets the engine wait', async () => {
    const lock = lockFile();
    let waited = true;
    const engine = append(1).finally(() => (waited = false));
    const request = append(2, 'request');
    await expect(request).rejects.toThrow(StoreUnavailable);
    await expect(request).rejects.toThrow('end the program that locks it');
    expect(store.problems()).toHaveLength(1);
    expect(waited).toBe(true);
    lock.release();
    await engine;
    expect(store.problems()).toEqual([]);
    expect(await stored()).toEqual([1]);
  });

  it('is found free again without anybody writing', async () => {
    const lock = lockFile();
    await expect(append(1, 'request')).rejects.toThrow(StoreUnavailable);
    expect(store.problems()).toHaveLength(1);
    lock.release();
    for (let i = 0; i < 100 && store.problems().length > 0; i++)
      await new Promise((resolve) => setTimeout(resolve, 20));
    expect(store.problems()).toEqual([]);
  });

  it('closes nevertheless, and tells the engine that its write was not stored', async () => {
    const lock = lockFile();
    const write = append(1);
    const refused = expect(write).rejects.toThrow(StoreUnavailable);
    await store.close();
    await refused;
    lock.release();
    store = await open();
    expect(await stored()).toEqual([]);
  });
});

describe('a full disk', () => {
  it('is reported, loses nothing acknowledged, and is over when there is room again', async () => {
    await append(1);
    pragma(`max_page_count = ${Number(pragma('page_count')) + 2}`);
    const text = 'x'.repeat(50_000);
    await expect(append(2, 'request', text)).rejects.toThrow('free disk space');
    expect(store.problems()[0]).toContain('SQLITE_FULL');
    const engine = append(3, 'engine', text);
    await expect(append(4, 'request', text)).rejects.toThrow(StoreUnavailable);
    expect(await stored()).toEqual([1]);
    pragma('max_page_count = 1073741823');
    await engine;
    expect(store.problems()).toEqual([]);
    expect(await stored()).toEqual([1, 3]);
  });
});

describe('events of a topic', () => {
  const topics = [
    'hxo.alert',
    'hxo.plan',
    'hxo.shard.done',
    'hxo.shard.failed',
    'HXO.SHARD.DONE',
    'hxo_shard',
  ];
  const ids = async (query: { topic?: string; plan_id?: string; without?: string; after?: number }) =>
    (await store.events({ after: 0, limit: 5, ...query })).map(({ id }) => id);

  beforeEach(() =>
    // Ids 1 to 12: each topic twice, of plan a and then of plan b.
    store.write((tx) => {
      for (const plan_id of ['a', 'b'])
        tx.appendEvents(topics.map((topic) => ({ ...event(0), topic, plan_id })));
    }, 'engine'),
  );

  it.each<[Parameters<typeof ids>[0], number[]]>([
    [{ topic: 'hxo.plan' }, [2, 8]],
    [{ topic: 'hxo.shard' }, []],
    [{ topic: 'hxo.shard.*' }, [3, 4, 9, 10]],
    [{ topic: 'hxo.plan*' }, [2, 8]],
    [{ topic: 'hxo.shard.*', after: 4 }, [9, 10]],
    [{ topic: 'hxo.shard.*', plan_id: 'b' }, [9, 10]],
    [{ topic: 'hxo.plan', plan_id: 'a' }, [2]],
    [{ topic: 'hxo_*' }, [6, 12]],
    [{ topic: 'nothing*' }, []],
    [{ topic: 'nothing*', plan_id: 'a' }, []],
    [{ topic: '*' }, [1, 2, 3, 4, 5]],
    [{ topic: '*', after: 8 }, [9, 10, 11, 12]],
    [{ topic: 'hxo.*', without: 'hxo.alert' }, [2, 3, 4, 8, 9]],
    [{ topic: 'hxo.alert', without: 'hxo.alert' }, []],
    [{ topic: 'hxo.*', without: 'hxo.alert', plan_id: 'b' }, [8, 9, 10]],
    [{ without: 'hxo.alert', plan_id: 'a' }, [2, 3, 4, 5, 6]],
  ])('%j are %j', async (query, expected) => expect(await ids(query)).toEqual(expected));
});

describe('segments', () => {
  const segment = (first_ordinal: number, count: number): Segment => {
    const cas = Buffer.alloc(32 * count);
    const lines = '1\t\t{}\n'.repeat(count);
    const digest = sha256(lines);
    return { first_ordinal, count, wave: 0, cas, lines, digest, misses: '-'.repeat(count) };
  };

  it('begin with the one that an ordinal is in', async () => {
    await store.write((tx) => {
      for (let i = 0; i < 40; i++) tx.insertSegment(1, 0, segment(i * 3, 3));
      tx.insertSegment(1, 1, segment(0, 1));
    }, 'engine');
    const firsts = (from?: number) =>
      [...store.segments(1, 0, from)].map(({ first_ordinal }) => first_ordinal / 3);
    const all = Array.from({ length: 40 }, (_, i) => i);
    expect(firsts()).toEqual(all);
    expect([0, 2, 3, 61, 119].map((from) => firsts(from))).toEqual(
      [0, 0, 1, 20, 39].map((i) => all.slice(i)),
    );
    expect([...store.segments(1, 2, 5)]).toEqual([]);
  });
});

describe('results that are large', () => {
  const mib = 2 ** 20;
  const batch = (first_ordinal: number, mibs: number, mark = 'a') => ({
    ...{ stage_no: 0, first_ordinal, count: 1, failed: 0, attempt: 1, source_plan_no: null },
    ...{ worker: 'w', finished_at: 1 },
    lines: `${first_ordinal}\t0\tdone\t\t\t"${mark.repeat(mibs * mib)}"\n`,
  });
  const insert = (...batches: ReturnType<typeof batch>[]) =>
    store.write((tx) => tx.insertResults(1, 1, batches), 'engine');
  /** Changes what the file holds: whoever still has the old text has kept it in memory. */
  const change = (first_ordinal: number): void => {
    const { db } = store as unknown as { db: Database.Database };
    db.prepare('UPDATE result SET lines = ? WHERE first_ordinal = ?').run(
      batch(first_ordinal, 0).lines,
      first_ordinal,
    );
  };

  it('are read some MiB ahead at most, however few rows that is', async () => {
    await insert(...[0, 1, 2, 3].map((i) => batch(i * 256, 3)));
    const read: number[] = [];
    for (const { lines } of store.resultBatches(1, 1, 0)) {
      read.push(Math.floor(lines.length / mib));
      for (const ordinal of [512, 768]) change(ordinal);
    }
    expect(read).toEqual([3, 3, 0, 0]);
  });

  it('are read in pages without a row twice or none, small ones among them', async () => {
    const rows = Array.from({ length: 70 }, (_, i) => batch(i * 256, i % 9 === 4 ? 5 : 0));
    await insert(...rows);
    const firsts = [...store.resultBatches(1, 1, 0)].map(({ first_ordinal }) => first_ordinal);
    expect(firsts).toEqual(rows.map(({ first_ordinal }) => first_ordinal));
    const some = [...store.resultBatches(1, 1, 0, 300, 16 * 256)].map(({ first_ordinal }) => first_ordinal);
    expect(some).toEqual(firsts.slice(2, 16));
  });

  it('segments are read so, too', async () => {
    const lines = `1\t\t"${'a'.repeat(3 * mib)}"\n`;
    const segment = { count: 1, wave: 0, cas: Buffer.alloc(32), lines, digest: sha256(lines), misses: '-' };
    await store.write((tx) => {
      for (let i = 0; i < 4; i++) tx.insertSegment(1, 0, { first_ordinal: i, ...segment });
    }, 'engine');
    const { db } = store as unknown as { db: Database.Database };
    const read: number[] = [];
    for (const { wave } of store.segments(1, 0)) {
      read.push(wave);
      db.exec('UPDATE segment SET wave = 1 WHERE first_ordinal > 1');
    }
    expect(read).toEqual([0, 0, 1, 1]);
  });

  describe('and may be reused', () => {
    const cas = (ordinal: number): Buffer => Buffer.alloc(32, String(ordinal).padStart(8, '0'));
    const digest = 'a'.repeat(64) as never;
    const offer = async (...batches: ReturnType<typeof batch>[]): Promise<void> => {
      await insert(...batches);
      await store.write((tx) => {
        const artifact = { digest, bytes: 1 };
        const certificate = { envelope: {}, key_id: digest, public_key: '' };
        tx.insertCertificate(1, 1, { ...certificate, leaves: artifact, records: artifact });
        for (const { first_ordinal } of batches) {
          const segment = { first_ordinal, count: 1, wave: 0, lines: '', digest, misses: '' };
          tx.fillReuse(1, 1, 0, { ...segment, cas: cas(first_ordinal) });
        }
      }, 'engine');
    };
    const size = (ordinal: number): number => Math.floor(store.reusable(cas(ordinal))!.value.length / mib);

    it('are kept within some MiB, those looked for last', async () => {
      const blocks = [0, 1, 2, 3, 4].map((i) => i * 256);
      await offer(...blocks.map((first_ordinal) => batch(first_ordinal, 15)));
      expect(blocks.map(size)).toEqual([15, 15, 15, 15, 15]);
      blocks.forEach(change);
      // The first has made room for the last. Looked into again, it makes no more room than it needs.
      expect([256, 512, 768, 1024, 0].map(size)).toEqual([15, 15, 15, 15, 0]);
      expect([256, 512, 768, 1024].map(size)).toEqual([15, 15, 15, 15]);
    });

    it('are kept whole, when one is larger than all that is kept', async () => {
      await offer(batch(0, 80), batch(256, 1));
      expect([size(0), size(0)]).toEqual([80, 80]);
      change(0);
      expect([size(0), size(256), size(0)]).toEqual([80, 1, 0]);
    });

    it('are read once for the segments of a block', async () => {
      const batches = Array.from({ length: 64 }, (_, i) => batch(i, 0));
      await insert(...batches);
      const db = (store as unknown as { db: Database.Database }).db;
      // SQLite tells of every row that a query looks at.
      let parsed = 0;
      db.function('looked_at', (lines: unknown) => {
        parsed++;
        return lines;
      });
      db.exec(`ALTER TABLE result RENAME TO held;
        CREATE TEMP VIEW result AS SELECT plan_no, revision, stage_no, first_ordinal, count, failed, attempt,
          source_plan_no, worker, finished_at, looked_at(lines) AS lines FROM held`);
      await store.write((tx) => {
        for (const { first_ordinal } of batches) {
          const segment = { first_ordinal, count: 1, wave: 0, lines: '', digest, misses: '' };
          tx.fillReuse(1, 1, 0, { ...segment, cas: cas(first_ordinal) });
        }
      }, 'engine');
      expect(parsed).toBe(64);
      expect(db.prepare('SELECT count(*) FROM reuse').pluck().get()).toBe(64);
    });
  });
});

describe('leadership', () => {
  it('is given to one store at a time', async () => {
    const second = open();
    await expect(second).rejects.toThrow(StoreInUse);
    await expect(second).rejects.toThrow('Stop it first');
    await append(1);
    await store.close();
    store = await open();
    expect(await stored()).toEqual([1]);
  });

  it('is given back when the store turns out to be damaged', async () => {
    await store.close();
    const sound = path;
    path = join(dir, 'damaged.db');
    writeFileSync(path, Buffer.alloc(8_192, 'not a database'));
    await expect(open()).rejects.toMatchObject({ code: 'SQLITE_NOTADB' });
    rmSync(path);
    store = await open();
    await store.close();
    path = sound;
    store = await open();
  });
});
