import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { copyFileSync, cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { printRanges, type ReportView, type StoreVerdict } from '#hxo';
import { certifyPlan, readCertificate, readPublicKey, signingKeyOf, type Envelope } from '#truth';
import { checkStore } from '../../apps/cli/src/check-store.js';
import { System } from './support/system.js';

/** Whatever is altered afterwards, in the store or in a document, is found and named. */

const system = new System();
const stage = { id: 'pack', kind: 'deploy.pack', config: { chunk_size_mb: 0.000_5 } };
let report: ReportView;
let key: KeyObject;
/** A copy of the home, as it was when the server had stopped. */
let sound: string;

beforeAll(async () => {
  system.writeMany(600, 190);
  await system.start();
  report = await system.run(stage);
  const { client } = system.server;
  for (const [name, document] of [
    ['report', report],
    ['certificate', await client.certificate(report.plan_id)],
    ['receipt', await client.receipt(report.plan_id, 'pack', 7)],
  ] as const) {
    writeFileSync(join(system.folder, `${name}.json`), JSON.stringify(document));
  }
  key = readPublicKey(readFileSync(system.key_path, 'utf8'));
});
afterAll(() => system.dispose());

describe('verify --store', () => {
  it('says ok while the server runs, and after it has stopped', async () => {
    expect(report.total_shards).toBeGreaterThan(256);
    const running = await system.verifyStore('--json');
    expect(running).toMatchObject({ code: 0, stderr: '' });
    const { rows, ...verdict } = JSON.parse(running.stdout) as StoreVerdict;
    expect(verdict).toMatchObject({ ok: true, plans: 1, findings: [] });
    const [counts] = system.rows<{ n: number }>(
      'SELECT (SELECT count(*) FROM segment) + (SELECT count(*) FROM result) + 2 AS n',
    );
    expect(rows).toBe(counts!.n);
    await system.server.process.stop();
    const stopped = await system.verifyStore();
    expect(stopped).toMatchObject({ code: 0, stderr: '' });
    expect(stopped.stdout).toMatch(
      new RegExp(`^Verified: 1 certified plan, ${rows} rows and \\d+ artifacts`),
    );
    sound = join(system.folder, 'sound');
    cpSync(system.home, sound, { recursive: true });
  });

  it.each([
    ['result: count', `UPDATE result SET count = count + 1 WHERE ${holds(7)}`, 'of stage pack'],
    ['result: failed', `UPDATE result SET failed = 1 WHERE ${holds(7)}`, 7],
    ['result: attempt', `UPDATE result SET attempt = 2 WHERE ${holds(7)}`, 7],
    [
      'result: status',
      `UPDATE result SET lines = replace(lines, char(9) || 'done', char(9) || 'gone') WHERE ${holds(7)}`,
      'of stage pack',
    ],
    [
      'result: declared output',
      `UPDATE result SET lines = replace(lines, 'done' || char(9), 'done' || char(9) || '0') WHERE ${holds(0)}`,
      0,
    ],
    [
      'result: value',
      `UPDATE result SET lines = replace(lines, '"files":', '"files":1') WHERE ${holds(299)}`,
      299,
    ],
    [
      'result: artifacts',
      `UPDATE result SET lines = replace(lines, '"bytes":', '"bytes":1') WHERE ${holds(3)}`,
      3,
    ],
    [
      'result: artifacts, no longer JSON',
      `UPDATE result SET lines = replace(lines, '[{', '[') WHERE ${holds(3)}`,
      'of stage pack',
    ],
    ['result: worker', `UPDATE result SET worker = 'me' WHERE ${holds(8)}`, 8],
    [
      'result: duration',
      `UPDATE result SET lines = replace(lines, char(9) || 'done', '0' || char(9) || 'done') WHERE ${holds(8)}`,
      8,
    ],
    ['result: time', `UPDATE result SET finished_at = finished_at + 1 WHERE ${holds(8)}`, 8],
    ['result: source', `UPDATE result SET source_plan_no = 1 WHERE ${holds(8)}`, 8],
    ['result: deleted', `DELETE FROM result WHERE ${holds(5)}`, 'rows after'],
    [
      'result: added',
      `INSERT INTO result SELECT plan_no, revision, stage_no, 9999, 1, 0, attempt, source_plan_no, worker, finished_at,
         '9999' || char(9) || '1' || char(9) || 'done' || char(9) || char(9) || char(9) || '{}' || char(10)
       FROM result WHERE ${holds(5)}`,
      'result 9999 of stage pack',
    ],
    [
      'segment: moved far away',
      `UPDATE segment SET first_ordinal = 1000000000000 WHERE first_ordinal = 256`,
      'of stage pack',
    ],
    [
      'segment: inputs',
      `UPDATE segment SET lines = replace(lines, 'f000030', 'f000031')`,
      'segment 0-255 of stage pack',
    ],
    [
      'segment: lines cut',
      `UPDATE segment SET lines = 'x' WHERE first_ordinal = 0`,
      'segment 0-255 of stage pack',
    ],
    [
      'segment: content ids',
      `UPDATE segment SET cas = zeroblob(length(cas)) WHERE first_ordinal = 0`,
      'segment 0-255 of stage pack',
    ],
    [
      'segment: reasons',
      `UPDATE segment SET misses = replace(misses, 'f', 'c') WHERE first_ordinal = 0`,
      'segment 0-255 of stage pack',
    ],
    ['plan: spec', `UPDATE plan SET spec = replace(spec, '"slo_ms":120000', '"slo_ms":120001')`, 'plan row'],
    ['plan: spec, no longer JSON', `UPDATE plan SET spec = 'x'`, 'spec'],
    ['plan: root', `UPDATE plan SET root = zeroblob(32)`, 'plan row'],
    ['plan: phase', `UPDATE plan SET phase = 'failed'`, 'plan row'],
    ['plan: end', `UPDATE plan SET finished_at = finished_at + 1000`, 'plan row'],
    ['stage: counter', `UPDATE stage SET done = done - 1`, 'stage row pack'],
    ['stage: output', `UPDATE stage SET output = NULL`, 'stage row pack'],
    ['certificate: deleted', `DELETE FROM certificate`, 'certificate'],
    ['certificate: no longer JSON', `UPDATE certificate SET envelope = substr(envelope, 2)`, 'certificate'],
  ])('names an altered row: %s', async (_what, sql, named) => {
    alter(sql);
    const name = typeof named === 'number' ? nameOfRowWith(named) : named;
    const verdict = await checkStore(system.db_path, join(system.home, 'artifacts'), [key]);
    expect(verdict.ok).toBe(false);
    expect(verdict.findings.map(({ what, detail }) => `${what} ${detail}`).join()).toContain(name);
    expect(JSON.stringify(verdict.findings)).not.toMatch(/undefined|TypeError|    at /);
  });

  it('names an altered artifact, and one that is gone', async () => {
    restore();
    const blob = shardBlob(7);
    flipByte(artifactPath(blob), 20);
    const manifest = report.outputs[0]!.artifacts.find(({ name }) => name === 'manifest')!.digest;
    rmSync(artifactPath(manifest));
    const { code, stdout, stderr } = await system.verifyStore();
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    expect(stdout).toContain(`artifact ${blob}: The bytes of shard 7 of stage pack are corrupt.`);
    expect(stdout).toContain(`artifact ${manifest}: The bytes of pack/manifest are missing.`);
    expect(stdout).toContain('NOT verified');
    cpSync(join(sound, 'artifacts'), join(system.home, 'artifacts'), { recursive: true });
  });

  it('names a certificate with an altered byte, and one signed by another key', async () => {
    for (const envelope of [withFlippedPayload(envelopeOf(report)), resigned(envelopeOf(report))]) {
      alter(`UPDATE certificate SET envelope = ?`, JSON.stringify(envelope));
      const { code, stdout } = await system.verifyStore('--json');
      expect(code).toBe(1);
      expect(JSON.parse(stdout)).toMatchObject({
        ok: false,
        findings: [{ plan_id: report.plan_id, what: 'certificate' }],
      });
    }
  });

  it('finds stores that are none, and trusts nothing without a key', async () => {
    restore();
    const rubbish = join(system.folder, 'rubbish.db');
    writeFileSync(rubbish, 'this is no database'.repeat(500));
    const empty = join(system.folder, 'empty.db');
    new Database(empty).close();
    const torn = join(system.folder, 'torn.db');
    writeFileSync(torn, readFileSync(system.db_path).fill(0xff, 4096));
    for (const db of [rubbish, empty, torn, join(system.folder, 'none.db')]) {
      const { ok, findings } = await checkStore(db, join(system.home, 'artifacts'), [key]);
      expect({ ok, findings }).toMatchObject({ ok: false, findings: [{ plan_id: null, what: 'store' }] });
    }
    const { code, stdout, stderr } = await system.verifyStore('--db', rubbish);
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    expect(stdout).toMatch(/^FAILED {2}store: .*\nNOT verified/);
    const keyless = await system.hxo('verify', '--store', system.home);
    expect(keyless).toMatchObject({ code: 1 });
    expect(keyless.stdout).toContain('No trusted key');
    expect(await system.verifyStore('--artifacts', join(system.folder, 'none'))).toMatchObject({ code: 1 });
    expect(await system.verifyStore(join(system.folder, 'report.json'))).toMatchObject({ code: 2 });
    expect(await system.hxo('verify')).toMatchObject({ code: 2 });
    expect(await system.verifyStore()).toMatchObject({ code: 0 });
  });
});

describe('verify <file>', () => {
  const verify = (document: unknown) => {
    const path = join(system.folder, 'altered.json');
    writeFileSync(path, JSON.stringify(document));
    return system.hxo('verify', path, '--key', system.key_path);
  };
  const read = <T>(name: string): T =>
    JSON.parse(readFileSync(join(system.folder, `${name}.json`), 'utf8')) as T;

  it('accepts the genuine documents', async () => {
    for (const name of ['report', 'certificate', 'receipt']) {
      const { code, stdout } = await verify(read(name));
      expect(code).toBe(0);
      expect(stdout).toContain(`genuine. Root ${report.merkle_root}`);
    }
  });

  it('names what was altered, and ends 1', async () => {
    const receipt = read<{ shard?: unknown }>('receipt');
    const altered: [unknown, RegExp][] = [
      [{ ...report, done_shards: report.done_shards + 1 }, /FAILED {2}done_shards/],
      [{ ...report, merkle_root: '0'.repeat(64) }, /FAILED {2}merkle_root/],
      [{ ...report, phase: 'aborted' }, /FAILED {2}phase/],
      [{ ...report, certificate: resigned(envelopeOf(report)) }, /FAILED {2}signature/],
      [withFlippedPayload(envelopeOf(report)), /FAILED {2}signature/],
      [resigned(envelopeOf(report)), /FAILED {2}signature/],
      [
        JSON.parse(JSON.stringify(receipt).replace('"ordinal":7', '"ordinal":8')),
        /FAILED {2}leaf|FAILED {2}path/,
      ],
    ];
    for (const [document, named] of altered) {
      const { code, stdout } = await verify(document);
      expect(stdout).toMatch(named);
      expect(code).toBe(1);
    }
  });
});

/** Which row of results holds a shard's. */
function holds(ordinal: number): string {
  return `(lines LIKE '${ordinal}' || char(9) || '%' OR lines LIKE '%' || char(10) || '${ordinal}' || char(9) || '%')`;
}

/** How that row is named. */
function nameOfRowWith(ordinal: number): string {
  const [row] = system.rows<{ lines: string }>(`SELECT lines FROM result WHERE ${holds(ordinal)}`);
  const ordinals = row!.lines
    .trimEnd()
    .split('\n')
    .map((line) => Number(line.split('\t')[0]));
  return `result${ordinals.length === 1 ? '' : 's'} ${printRanges(ordinals)} of stage pack`;
}

/** Runs one statement on the store as it was sound. */
function alter(sql: string, ...parameters: unknown[]): void {
  restore();
  const db = new Database(system.db_path);
  const { changes } = db.prepare(sql).run(...parameters);
  db.close();
  expect(changes).toBeGreaterThan(0);
}

function restore(): void {
  for (const suffix of ['-wal', '-shm']) rmSync(system.db_path + suffix, { force: true });
  copyFileSync(join(sound, 'checkpoints.db'), system.db_path);
}

function shardBlob(ordinal: number): string {
  const result = system.results().find((each) => each.ordinal === ordinal);
  return (JSON.parse(result!.value) as { blob: string }).blob;
}

function artifactPath(digest: string): string {
  return join(system.home, 'artifacts', digest.slice(0, 2), digest.slice(2));
}

function flipByte(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at]! ^= 1;
  writeFileSync(path, bytes);
}

function envelopeOf({ certificate }: ReportView): Envelope {
  return certificate as unknown as Envelope;
}

/** One digit of the payload's text is another. */
function withFlippedPayload(envelope: Envelope): Envelope {
  const payload = Buffer.from(envelope.payload, 'base64').toString('utf8').replace('"done":', '"done":1');
  return { ...envelope, payload: Buffer.from(payload).toString('base64') };
}

/** The same statement, signed properly by a key that nobody trusts. */
function resigned(envelope: Envelope): Envelope {
  const { privateKey } = generateKeyPairSync('ed25519');
  return certifyPlan(readCertificate(envelope, [key]).predicate, signingKeyOf(privateKey));
}
