import { linkSync, mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'; // prettier-ignore
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import type { TargetDatabase, TargetError } from '#hxo/execute';
import { postgresError } from './postgres-error.js';
import { createTargets } from './targets.js';

const folder = mkdtempSync(join(tmpdir(), 'hxo-targets-'));
const home = join(folder, 'home');
const own = join(home, 'checkpoints.db');
mkdirSync(home);
for (const path of [own, join(folder, 'app.db')]) new Database(path).exec('CREATE TABLE t (id int)').close();
const forbidden = [home, own, join(home, 'not-there')];
const opened: TargetDatabase[] = [];

function open(path: string, idle_ms?: number): TargetDatabase {
  const target = createTargets({ addresses: { it: { dialect: 'sqlite', path } }, forbidden, idle_ms }).open(
    'it',
  );
  opened.push(target);
  return target;
}

/** Only the last connection may leave WAL mode. */
function isUnused(path: string): boolean {
  const other = new Database(path, { timeout: 0 });
  try {
    return other.pragma('journal_mode = delete', { simple: true }) === 'delete';
  } catch {
    return false;
  } finally {
    other.close();
  }
}

afterAll(async () => {
  for (const target of opened) await target.close();
  rmSync(folder, { recursive: true });
});

describe('SQLite', () => {
  it.each<[string, () => string]>([
    ['its own path', () => own],
    ['another spelling', () => join(home, '..', 'home', '.', 'checkpoints.db')],
    ['a symbolic link', () => (symlinkSync(own, join(folder, 'link.db')), join(folder, 'link.db'))],
    ['a hard link', () => (linkSync(own, join(folder, 'hard.db')), join(folder, 'hard.db'))],
    [
      'another file of its folder',
      () => {
        new Database(join(home, 'other.db')).exec('CREATE TABLE t (id int)').close();
        return join(home, 'other.db');
      },
    ],
  ])("refuses HXO's own database by %s", async (_, path) => {
    await expect(open(path()).query('SELECT 1')).rejects.toMatchObject({
      code: 'TARGET_UNKNOWN',
      verdict: 'fail',
    });
  });

  it('makes no file that is not there', async () => {
    const path = join(folder, 'typo.db');
    await expect(open(path).query('SELECT 1')).rejects.toMatchObject({
      code: 'TARGET_REFUSED',
      message: expect.stringContaining('HXO_TARGET_IT_URL') as string,
    });
    expect(() => new Database(path, { fileMustExist: true })).toThrow();
  });

  it('keeps no connection to a file that is no database', async () => {
    const path = join(folder, 'no-database.db');
    writeFileSync(path, 'x'.repeat(5_000));
    await expect(open(path).query('SELECT 1')).rejects.toMatchObject({
      code: 'SQL_ERROR',
      message: expect.stringContaining('SQLITE_NOTADB') as string,
    });
    const linked = readdirSync('/proc/self/fd').map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return ''; // The descriptor that lists them is closed by now.
      }
    });
    expect(linked).not.toContain(path);
  });

  it('rolls back what throws, keeps what does not, and says what is wrong', async () => {
    const target = open(join(folder, 'app.db'));
    const write = { access: 'write' } as const;
    await target.transaction(write, (session) => session.query('INSERT INTO t VALUES (?1)', [1n]));
    const failing = target.transaction(write, async (session) => {
      await session.script('INSERT INTO t VALUES (2); INSERT INTO t VALUES (3)');
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    await target.transaction({ ...write, end: 'rollback' }, (session) => session.script('DELETE FROM t'));
    expect(await target.query('SELECT count(*), max(id) FROM t')).toMatchObject({ rows: [[1n, 1n]] });
    await expect(target.query('SELECT t.missing FROM t')).rejects.toMatchObject({
      code: 'SQL_ERROR',
      message: expect.stringContaining('no such column: t.missing') as string,
    });
    await expect(target.transaction(write, (session) => session.script('VACUUM'))).rejects.toMatchObject({
      code: 'NEEDS_NO_TRANSACTION',
    });
  });

  describe('a rollback fails where COMMIT would for foreign keys', () => {
    const tables = `CREATE TABLE p (id INTEGER PRIMARY KEY, n);
      CREATE TABLE c (id INTEGER PRIMARY KEY, p REFERENCES p DEFERRABLE INITIALLY DEFERRED);
      CREATE TABLE w (k PRIMARY KEY, p REFERENCES p DEFERRABLE INITIALLY DEFERRED) WITHOUT ROWID;
      CREATE TABLE i (id INTEGER PRIMARY KEY, p REFERENCES p);
      CREATE TABLE q (n); CREATE TABLE mismatch (n REFERENCES q(n) DEFERRABLE INITIALLY DEFERRED);
      INSERT INTO p VALUES (1, 1);
      PRAGMA foreign_keys = OFF; INSERT INTO c VALUES (1, 98); INSERT INTO w VALUES (1, 98); INSERT INTO i VALUES (1, 98);
      PRAGMA foreign_keys = ON;`;

    it.each<[string, string | null]>([
      ['INSERT INTO c VALUES (2, 99)', 'row 2 of c references no row of p'],
      ['INSERT INTO w VALUES (2, 99)', 'a row of w references no row of p'],
      ['INSERT INTO c VALUES (2, 1); DELETE FROM p', 'row 2 of c references no row of p'],
      [
        'CREATE TABLE d (p REFERENCES p DEFERRABLE INITIALLY DEFERRED); INSERT INTO d VALUES (99)',
        'row 1 of d',
      ],
      ['PRAGMA defer_foreign_keys = ON; INSERT INTO i VALUES (2, 99)', 'row 2 of i references no row of p'],
      ['INSERT INTO c VALUES (2, 99); INSERT INTO p VALUES (99, 0)', null],
      ['INSERT INTO c VALUES (2, 99); DROP TABLE c', null],
      ['INSERT INTO c VALUES (2, 1); UPDATE p SET n = 2', null],
    ])('%s: %s', async (sql, message) => {
      const path = join(folder, `deferred-${Math.random()}.db`);
      new Database(path).exec(tables).close();
      const target = open(path);
      const ended = (end: 'rollback' | 'commit'): Promise<TargetError | null> =>
        target
          .transaction({ access: 'write', end }, (session) => session.script(sql))
          .then(
            () => null,
            (error: TargetError) => error,
          );
      const tried = await ended('rollback');
      expect(tried?.code).toBe(message === null ? undefined : 'SQL_ERROR');
      expect(tried?.message ?? '').toContain(message ?? '');
      expect(await target.query('SELECT count(*) FROM c')).toMatchObject({ rows: [[1n]] });
      expect((await ended('commit'))?.code).toBe(tried?.code);
    });
  });

  it('closes a connection that is idle, and opens another', async () => {
    const path = join(folder, 'idle.db');
    new Database(path).exec('CREATE TABLE t (id int); PRAGMA journal_mode = wal').close();
    const target = open(path, 20);
    await target.query('INSERT INTO t VALUES (1)');
    expect(isUnused(path)).toBe(false);
    for (const end = performance.now() + 5_000; !isUnused(path) && performance.now() < end;) await sleep(10);
    expect(isUnused(path)).toBe(true);
    expect(await target.query('SELECT count(*) FROM t')).toMatchObject({ rows: [[1n]] });
  });

  it('opens one connection for calls at the same time', async () => {
    const path = join(folder, 'once.db');
    new Database(path).exec('CREATE TABLE t (id int); PRAGMA journal_mode = wal').close();
    const target = open(path);
    await Promise.all([1, 2, 3].map((id) => target.query('INSERT INTO t VALUES (?1)', [id])));
    expect(isUnused(path)).toBe(false);
    await target.close();
    expect(isUnused(path)).toBe(true);
  });

  it('writes to the file that is at its path, though another was when it connected', async () => {
    const path = join(folder, 'replaced.db');
    const make = (): unknown => new Database(path).exec('CREATE TABLE t (id int)').close();
    make();
    const target = open(path);
    await target.query('INSERT INTO t VALUES (1)');
    rmSync(path);
    await expect(target.query('SELECT 1')).rejects.toMatchObject({ code: 'TARGET_REFUSED' });
    make();
    await target.query('INSERT INTO t VALUES (2)');
    const other = new Database(path);
    expect(other.prepare('SELECT id FROM t').pluck().all()).toEqual([2]);
    other.close();
  });
});

describe('errors of PostgreSQL', () => {
  const url = 'postgres://me:can%40ry@db.example/app';
  const told = (error: object): TargetError =>
    postgresError('it', 'HXO_TARGET_IT_URL', error, url) as TargetError;
  const server = (code: string, message = 'words'): object => ({ severity: 'ERROR', code, message });

  it.each([
    ['40P01', 'TARGET_CONFLICT', 'retry'],
    ['40001', 'TARGET_CONFLICT', 'retry'],
    ['55P03', 'TARGET_LOCKED', 'retry'],
    ['57014', 'STATEMENT_TIMEOUT', 'retry'],
    ['57P01', 'TARGET_UNREACHABLE', 'retry'],
    ['53300', 'TARGET_UNREACHABLE', 'retry'],
    ['28P01', 'TARGET_REFUSED', 'fail'],
    ['3D000', 'TARGET_REFUSED', 'fail'],
    ['25001', 'NEEDS_NO_TRANSACTION', 'fail'],
    ['42P01', 'SQL_ERROR', 'fail'],
    ['23505', 'SQL_ERROR', 'fail'],
  ])('%s is %s: %s', (sqlstate, code, verdict) =>
    expect(told(server(sqlstate))).toMatchObject({ code, verdict }),
  );

  it('show neither URL, user nor password', () => {
    const errors = [
      server('28P01', 'password authentication failed for user "me"'),
      server('42601', `syntax error at "can@ry" of ${url}`),
      Object.assign(new Error('getaddrinfo ENOTFOUND db.example'), { code: 'ENOTFOUND' }),
      new Error('Connection terminated unexpectedly'),
    ];
    for (const error of errors) {
      const { message, cause } = told(error);
      expect(message).not.toMatch(/can(@|%40)ry|db\.example|"me"/);
      expect(cause).toBeUndefined();
    }
    expect(told(errors[2]!)).toMatchObject({ code: 'TARGET_UNREACHABLE', verdict: 'retry' });
  });
});

it('a name without a URL is told with its variable', () => {
  const targets = createTargets({ addresses: {}, forbidden: [] });
  for (const name of ['books', 'constructor'])
    expect(() => targets.dialectOf(name)).toThrow(`HXO_TARGET_${name.toUpperCase()}_URL`);
});
