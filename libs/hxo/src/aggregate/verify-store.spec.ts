import { generateKeyPairSync } from 'node:crypto';
import { rmSync, statSync, truncateSync, writeFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { sha256, type Digest } from '#truth';
import { done, failed, ordinalsOf, type Work } from '../../../../test/engine/fake-transport.js';
import { RunningEngine } from '../../../../test/engine/running-engine.js';
import { SqlitePlanReader } from '../../../adapters/typeorm/sqlite-reader.js';
import { verifyStore, type StoreFinding, type StoreVerdict } from './verify-store.js';

let hxo: RunningEngine;
let db: Database.Database;

/** Every shard and every stage has an artifact; shard 4 of the stage `broken` fails. */
const work: Work = async (bundle, worker) => {
  const blob = await hxo.artifacts.put(Buffer.from(`${bundle.stage} ${bundle.work.type}`));
  if (bundle.work.type === 'collect') {
    const digest = sha256(bundle.stage);
    const output = { digest, value: { files: 3 }, artifacts: [{ name: 'manifest', ...blob }] };
    return worker.report([{ ...done(0, output), digest, artifacts: [blob] }], true);
  }
  const outcomes = ordinalsOf(bundle).map((ordinal) =>
    bundle.stage === 'broken' && ordinal === 4
      ? failed(4, 'fail')
      : { ...done(ordinal), digest: sha256(`tar ${ordinal}`), artifacts: [blob] },
  );
  await worker.report(outcomes, true);
};

/** The findings on the store as the connection sees it, uncommitted changes included. */
const verify = (trusted = [hxo.key.publicKey]): Promise<StoreVerdict> =>
  verifyStore(new SqlitePlanReader(db), hxo.artifacts, trusted);

/** The findings on the store after an alteration, which is undone again. */
async function findingsAfter(sql: string, ...parameters: unknown[]): Promise<readonly StoreFinding[]> {
  db.exec('BEGIN');
  try {
    expect([sql, db.prepare(sql).run(...parameters).changes]).toEqual([sql, 1]);
    const { ok, findings } = await verify();
    expect([sql, ok]).toEqual([sql, findings.length === 0]);
    return findings;
  } finally {
    db.exec('ROLLBACK');
  }
}

beforeAll(async () => {
  hxo = await RunningEngine.start({ work });
  const two = [
    { id: 'first', executor: 'collecting', config: { waves: [300] } },
    { id: 'second', executor: 'cacheable', config: { waves: [3, 3] } },
  ];
  await hxo.run(two);
  await hxo.run(two);
  await hxo.run([
    { id: 'broken', config: { waves: [6] } },
    { id: 'after', config: { waves: [2] }, dependencies: ['broken'] },
  ]);
  db = new Database(join(hxo.dir, 'hxo.db'));
});

afterAll(async () => {
  db.close();
  await hxo.close();
});

it('vouches for a store that nobody has touched', async () => {
  const { ok, plans, rows, artifacts, findings } = await verify();
  expect(findings).toEqual([]);
  expect([ok, plans]).toEqual([true, 3]);
  // A row for each plan, stage, segment and result; a blob for each stage's shards, collector, and list of hashes.
  const counts = ['plan', 'stage', 'segment', 'result'].map((table) => countOf(table));
  expect(rows).toBe(counts.reduce((sum, count) => sum + count, 0));
  expect(artifacts).toBeGreaterThanOrEqual(8);
});

function countOf(table: string): number {
  return db.prepare(`SELECT count(*) FROM ${table}`).pluck().get() as number;
}

/** One way to alter a value. */
type Alteration = readonly [name: string, value: unknown];

function alterations(value: unknown): Alteration[] {
  if (value === null)
    return [
      ['a number for null', 7],
      ['a text for null', '{}'],
      ['a blob for null', Buffer.alloc(32, 7)],
    ];
  if (typeof value === 'number')
    return [
      ['one more', value + 1],
      ['one less', value - 1],
    ];
  if (Buffer.isBuffer(value)) {
    const flipped = Buffer.from(value);
    flipped[flipped.length - 1]! ^= 1;
    return [
      ['a bit flipped', flipped],
      ['a byte less', value.subarray(1)],
    ];
  }
  const text = value as string;
  return [
    ['a letter more', `${text}x`],
    ['emptied', ''],
    ...(/\d/.test(text)
      ? [['a digit changed', text.replace(/\d(?=\D*$)/, (d) => String((Number(d) + 1) % 10))] as const]
      : []),
    ...(text.startsWith('{')
      ? [['a field more', text.replace('{', '{"z":1,').replace(',}', '}')] as const]
      : []),
  ];
}

/** The row of results that holds a shard's: rows that were accepted one after the other follow each other here. */
function holds(ordinal: number): string {
  return `(lines LIKE '${ordinal}' || char(9) || '%' OR lines LIKE '%' || char(10) || '${ordinal}' || char(9) || '%')`;
}

/** What the finding on a row of each table is named. */
const tables: readonly {
  readonly table: string;
  readonly row: string;
  readonly named: RegExp;
}[] = [
  { table: 'plan', row: 'plan_no = 1', named: /^(plan row|certificate)/ },
  { table: 'plan', row: 'plan_no = 3', named: /^(plan row|certificate)/ },
  { table: 'stage', row: 'plan_no = 1 AND stage_no = 0', named: /^stage row (first|second)/ },
  { table: 'stage', row: 'plan_no = 3 AND stage_no = 1', named: /^stage row (broken|after)/ },
  {
    table: 'segment',
    row: 'plan_no = 1 AND stage_no = 0 AND first_ordinal = 256',
    named: /^(segment|shard|rows after segment) /,
  },
  {
    table: 'result',
    row: `plan_no = 1 AND stage_no = 0 AND ${holds(17)}`,
    named: /^(results?|shard|rows after results?) /,
  },
  {
    table: 'result',
    row: `plan_no = 2 AND stage_no = 1 AND ${holds(3)}`,
    named: /^(results?|shard|rows after results?) /,
  },
  {
    table: 'result',
    row: `plan_no = 3 AND stage_no = 0 AND ${holds(4)}`,
    named: /^(results?|shard|rows after results?) /,
  },
  { table: 'certificate', row: 'plan_no = 1', named: /^(certificate|artifact|records)/ },
];

describe.each(tables)('an altered $table row ($row)', ({ table, row, named }) => {
  const columns = (): string[] =>
    (db.prepare(`PRAGMA table_info(${table})`).all() as { name: string }[]).map(({ name }) => name);

  it('is named, whatever column was altered', async () => {
    const unseen: string[] = [];
    for (const column of columns()) {
      const value = db.prepare(`SELECT ${column} FROM ${table} WHERE ${row}`).pluck().get();
      for (const [how, other] of alterations(value)) {
        if (other === value) continue;
        const found = await altered(table, row, column, other);
        if (found === null) continue;
        const names = found.map(({ what }) => what);
        if (!names.some((name) => named.test(name))) unseen.push(`${column}, ${how}: ${names.join('; ')}`);
      }
    }
    expect(unseen).toEqual([]);
  });

  it('is missed when it is gone', async () => {
    const names = (await findingsAfter(`DELETE FROM ${table} WHERE ${row}`)).map(({ what }) => what);
    expect(names.filter((name) => named.test(name))).not.toEqual([]);
    expect(names.length).toBeLessThan(60);
  });
});

/** Null when SQLite itself refuses the value: nobody can have put it there. */
async function altered(
  table: string,
  row: string,
  column: string,
  value: unknown,
): Promise<readonly StoreFinding[] | null> {
  try {
    return await findingsAfter(`UPDATE ${table} SET ${column} = ? WHERE ${row}`, value);
  } catch (error) {
    if (String((error as { code?: unknown }).code).startsWith('SQLITE_CONSTRAINT')) return null;
    throw error;
  }
}

describe('an added row', () => {
  it('of a result that no shard has is named', async () => {
    const findings = await findingsAfter(
      `INSERT INTO result SELECT plan_no, revision, stage_no, 300, 1, 0, attempt, source_plan_no, worker, finished_at, ?
       FROM result WHERE plan_no = 1 AND stage_no = 0 LIMIT 1`,
      '300\t1\tdone\t\t\t{}\n',
    );
    expect(findings.map(({ what }) => what)).toContain('result 300 of stage first');
  });

  it('of a result for a shard that was skipped is named', async () => {
    const findings = await findingsAfter(
      `INSERT INTO result SELECT plan_no, revision, 1, 0, 1, 0, attempt, source_plan_no, worker, finished_at, ?
       FROM result WHERE plan_no = 3 AND stage_no = 0 LIMIT 1`,
      '0\t1\tdone\t\t\t{}\n',
    );
    expect(findings.map(({ what }) => what)).toContain('result 0 of stage after');
  });

  it('of a segment is named', async () => {
    const findings = await findingsAfter(
      `INSERT INTO segment SELECT plan_no, 1, 6, count, wave, cas, lines, digest, misses FROM segment
       WHERE plan_no = 1 AND stage_no = 1 AND first_ordinal = 3`,
    );
    expect(findings.map(({ what }) => what)).toContain('segment 6-8 of stage second');
  });

  it('of a segment inside another is named, and no result counts twice', async () => {
    const names = (
      await findingsAfter(
        `INSERT INTO segment SELECT plan_no, stage_no, 1, 1, wave, substr(cas, 1, 32), lines, digest, substr(misses, 1, 1)
         FROM segment WHERE plan_no = 1 AND stage_no = 1 AND first_ordinal = 0`,
      )
    ).map(({ what }) => what);
    expect(names).toContain('segment 1-1 of stage second');
    expect(names.filter((name) => !/^segment /.test(name))).toEqual([]);
  });
});

describe('an artifact', () => {
  const digests = (): Digest[] => [
    sha256('first shards'),
    sha256('first collect'),
    ...['leaves', 'records'].map((column) => {
      const bytes = db.prepare(`SELECT ${column} FROM certificate WHERE plan_no = 1`).pluck().get() as Buffer;
      return bytes.toString('hex') as Digest;
    }),
  ];
  const fileOf = (digest: Digest): string => join(hxo.dir, 'artifacts', digest.slice(0, 2), digest.slice(2));

  it.each([0, 1, 2, 3])('is named when a byte of it changed, or when it is gone (%i)', async (i) => {
    const digest = digests()[i]!;
    const file = fileOf(digest);
    const bytes = readFileSync(file);
    const spoil: (() => void)[] = [
      () => writeFileSync(file, Buffer.from(bytes.map((byte, at) => (at === 3 ? byte ^ 1 : byte)))),
      () => truncateSync(file, statSync(file).size - 1),
      () => rmSync(file),
    ];
    for (const spoiling of spoil) {
      spoiling();
      const { ok, findings } = await verify();
      expect(ok).toBe(false);
      expect(findings.map(({ what }) => what)).toContain(`artifact ${digest}`);
    }
    writeFileSync(file, bytes);
    expect((await verify()).ok).toBe(true);
  });
});

describe('a key', () => {
  it('that did not sign vouches for nothing', async () => {
    const { publicKey } = generateKeyPairSync('ed25519');
    const { ok, findings } = await verify([publicKey]);
    expect(ok).toBe(false);
    expect(findings.map(({ what }) => what)).toEqual(['certificate', 'certificate', 'certificate']);
    expect((await verify([publicKey, hxo.key.publicKey])).ok).toBe(true);
    expect((await verify([])).ok).toBe(false);
  });
});
