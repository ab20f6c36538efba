import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { PostgresServer } from './postgres.js';
import { System } from './system.js';

/** A target database that specs look into from outside. */
export interface Probe {
  readonly url: string;
  run(sql: string): Promise<void>;
  /** The first column of the first row, as text. */
  value(sql: string): Promise<string>;
  /** Whether somebody has changed rows in a transaction that is still open, or died in one that nobody has rolled back yet. */
  inTransaction(): Promise<boolean>;
  /** Statements that both understand, but for their numbers. */
  readonly numbers: (from: number, to: number) => string;
}

/** Systems that migrate databases of both dialects, with a PostgreSQL server that ends with them. */
export class Migrating {
  private readonly systems: System[] = [];
  private databases = 0;

  postgres!: PostgresServer;

  async start(): Promise<void> {
    this.postgres = await PostgresServer.start();
  }

  /** A system of its own, not started, and its target. */
  async setUp(
    dialect: string,
    options?: ConstructorParameters<typeof System>[1],
  ): Promise<{ system: System; probe: Probe }> {
    const system = new System({}, options);
    this.systems.push(system);
    const name = `app_${this.databases++}`;
    const probe =
      dialect === 'sqlite'
        ? sqliteProbe(join(system.folder, `${name}.db`))
        : await postgresProbe(this.postgres, name);
    return { system, probe };
  }

  /** Ends the systems that were set up so far: what runs idle costs the next ones time. */
  async endSystems(): Promise<void> {
    await Promise.all(this.systems.splice(0).map((system) => system.dispose()));
  }

  async dispose(): Promise<void> {
    await this.endSystems();
    await this.postgres?.dispose();
  }
}

/** {@link Migrating} over all of a spec file; systems end with the test that set them up. */
export function useMigrating(): Migrating {
  const migrating = new Migrating();
  beforeAll(() => migrating.start(), 60_000);
  afterEach(() => migrating.endSystems());
  afterAll(() => migrating.dispose());
  return migrating;
}

export const started = (system: System, probe: Probe): ReturnType<System['start']> =>
  system.start({ HXO_TARGET_DEFAULT_URL: probe.url });

export const files = { id: 'migrate', kind: 'deploy.migrate' };
export const backfill = (config: object): object => ({ id: 'fill', kind: 'deploy.migrate', config });

function sqliteProbe(path: string): Probe {
  writeFileSync(path, '');
  const open = <T>(work: (db: Database.Database) => T): T => {
    const db = new Database(path);
    try {
      return work(db);
    } finally {
      db.close();
    }
  };
  return {
    url: `sqlite:${path}`,
    run: async (sql) => open((db) => void db.exec(sql)),
    value: async (sql) => open((db) => String(db.prepare(sql).pluck().get())),
    inTransaction: async () => existsSync(`${path}-journal`),
    numbers: (from, to) =>
      `WITH RECURSIVE g(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM g WHERE i < ${to}) SELECT i, 0 FROM g`,
  };
}

async function postgresProbe(postgres: PostgresServer, name: string): Promise<Probe> {
  const url = await postgres.database(name);
  const watch = await postgres.connect();
  watch.on('error', () => undefined); // It ends with the server.
  const in_transaction = `SELECT 1 FROM pg_stat_activity WHERE datname = '${name}' AND backend_xid IS NOT NULL`;
  return {
    url,
    inTransaction: async () => (await watch.query(in_transaction)).rows.length > 0,
    run: async (sql) => void (await postgres.run(sql, name)),
    value: async (sql) => String(Object.values((await postgres.run(sql, name))[0]!)[0]),
    numbers: (from, to) => `SELECT i, 0 FROM generate_series(${from}, ${to}) AS g(i)`,
  };
}
