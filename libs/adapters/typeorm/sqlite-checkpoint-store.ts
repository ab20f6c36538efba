import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import { DataSource, In, LessThan, MoreThan, Not, type FindOptionsWhere } from 'typeorm';
import type { Json } from '#truth';
import {
  block_shards,
  blockOf,
  parseResults,
  RowUnreadable,
  utcSeconds,
  type AuditView,
  type BundleRow,
  type CheckpointStore,
  type EarlierStage,
  type FailureRow,
  type PlanRow,
  type ResultRow,
  type ReusableResult,
  type Segment,
  type StoredEvent,
  type Transaction,
} from '#hxo';
import {
  AuditEntity,
  EventEntity,
  PlanEntity,
  entities,
  type BundleEntity,
  type ResultEntity,
  type ReuseEntity,
  type SegmentEntity,
} from './entities.js';
import { FifoWriter } from './fifo-writer.js';
import { InitialSchema1763900000000 } from './initial-schema.migration.js';
import { bundleRow, planRow, resultBatch, segmentRow } from './rows.js';
import { SqlitePlanReader } from './sqlite-reader.js';
import { SqliteTransaction } from './sqlite-transaction.js';

const certified_blocks_max = 16;
/** Pages (4 KiB) of the log at which a commit writes it back itself, when nobody else has done so. */
const wal_pages_max = 8_192;

/** Thrown when another HXO process leads the same store. */
export class StoreInUse extends Error {
  override readonly name = 'StoreInUse';
}

/** The checkpoint store in one SQLite file: entities and migrations by TypeORM, hot paths as prepared statements. */
export class SqliteCheckpointStore extends SqlitePlanReader implements CheckpointStore {
  private readonly tx: SqliteTransaction;
  /** Blocks of results of certified plans, which change no more, those looked into last at the end. */
  private readonly certified_blocks = new Map<string, ReadonlyMap<number, ResultRow>>();

  private constructor(
    private readonly source: DataSource,
    db: Database.Database,
    private readonly writer: FifoWriter,
    private readonly lock: Database.Database,
  ) {
    super(db);
    this.tx = new SqliteTransaction(db);
  }

  /**
   * Opens the store, takes the leadership of it, and brings the schema up to date.
   * Throws {@link StoreInUse} when another process leads it, and an Error when the file is damaged.
   *
   * @param fatal called when durability is in doubt: the process must end
   */
  static async open(path: string, fatal: (error: Error) => void): Promise<SqliteCheckpointStore> {
    mkdirSync(dirname(path), { recursive: true });
    const lock = lead(`${path}.lock`);
    try {
      const source = await connect(path);
      const db = (source.driver as unknown as { readonly databaseConnection: Database.Database })
        .databaseConnection;
      return new SqliteCheckpointStore(source, db, new FifoWriter(db, fatal), lock);
    } catch (error) {
      lock.close();
      throw error;
    }
  }

  write<T>(work: (tx: Transaction) => T, patience: 'engine' | 'request'): Promise<T> {
    return this.writer.run(() => work(this.tx), patience);
  }

  unfinishedPlans(): Pick<PlanRow, 'plan_no' | 'plan_id'>[] {
    return this.sql(
      `SELECT plan_no, plan_id FROM plan WHERE phase NOT IN ('created', 'succeeded', 'failed', 'aborted') ORDER BY plan_no`,
    ).all() as Pick<PlanRow, 'plan_no' | 'plan_id'>[];
  }

  segmentsOf(plan_no: number, stage_no: number, ordinals: readonly number[]): Segment[] {
    const find = this.sql(
      `SELECT * FROM segment WHERE plan_no = ? AND stage_no = ? AND first_ordinal <= ? ORDER BY first_ordinal DESC LIMIT 1`,
    );
    const segments: Segment[] = [];
    for (const ordinal of ordinals) {
      const last = segments.at(-1);
      if (last !== undefined && ordinal < last.first_ordinal + last.count) continue;
      segments.push(segmentRow(find.get(plan_no, stage_no, ordinal) as SegmentEntity));
    }
    return segments;
  }

  result(plan_no: number, revision: number, stage_no: number, ordinal: number): ResultRow | null {
    const [result] = this.results(plan_no, revision, stage_no, ordinal, ordinal + 1);
    return result ?? null;
  }

  *bundles(plan_no: number): IterableIterator<BundleRow> {
    const page = this.sql('SELECT * FROM bundle WHERE plan_no = ? AND bundle > ? ORDER BY bundle LIMIT 1000');
    for (let after = 0; ;) {
      const rows = page.all(plan_no, after) as BundleEntity[];
      for (const row of rows) yield bundleRow(row);
      if (rows.length < 1000) return;
      after = rows.at(-1)!.bundle;
    }
  }

  bundle(plan_no: number, bundle: number): BundleRow | null {
    const row = this.sql('SELECT * FROM bundle WHERE plan_no = ? AND bundle = ?').get(plan_no, bundle);
    return row === undefined ? null : bundleRow(row as BundleEntity);
  }

  failures(plan_no: number, stage_no: number): FailureRow[] {
    return this.sql('SELECT * FROM failure WHERE plan_no = ? AND stage_no = ? ORDER BY ordinal, attempt').all(
      plan_no,
      stage_no,
    ) as FailureRow[];
  }

  failuresOf(plan_no: number, stage_no: number, ordinal: number): FailureRow[] {
    return this.sql(
      'SELECT * FROM failure WHERE plan_no = ? AND stage_no = ? AND ordinal = ? ORDER BY attempt',
    ).all(plan_no, stage_no, ordinal) as FailureRow[];
  }

  reusable(cas: Uint8Array): ReusableResult | null {
    const at = this.sql(
      'SELECT reuse.* FROM reuse JOIN certificate USING (plan_no, revision) WHERE cas = ?',
    ).get(cas) as ReuseEntity | undefined;
    const result = at === undefined ? undefined : this.certifiedResult(at);
    if (at === undefined || result?.status !== 'done') return null;
    return { ...result, source_plan_no: result.source_plan_no ?? at.plan_no };
  }

  /** Undefined, too, for a row that is damaged: work that cannot be reused is done again. */
  private certifiedResult(at: ReuseEntity): ResultRow | undefined {
    try {
      return this.certifiedBlock(at).get(at.ordinal);
    } catch (error) {
      if (error instanceof RowUnreadable) return undefined;
      throw error;
    }
  }

  /** The results around a shard. Plans that are submitted again ask for one after the other. */
  private certifiedBlock({
    plan_no,
    revision,
    stage_no,
    ordinal,
  }: ReuseEntity): ReadonlyMap<number, ResultRow> {
    const block = blockOf(ordinal);
    const name = `${plan_no}/${revision}/${stage_no}/${block}`;
    let results = this.certified_blocks.get(name);
    if (results !== undefined) {
      this.certified_blocks.delete(name);
      this.certified_blocks.set(name, results);
    } else {
      const from = block * block_shards;
      const rows = this.results(plan_no, revision, stage_no, from, from + block_shards);
      results = new Map(Array.from(rows, (row) => [row.ordinal, row]));
      this.certified_blocks.set(name, results);
      if (this.certified_blocks.size > certified_blocks_max)
        this.certified_blocks.delete(this.certified_blocks.keys().next().value!);
    }
    return results;
  }

  anyReusable(): boolean {
    return this.sql('SELECT 1 FROM reuse LIMIT 1').get() !== undefined;
  }

  earlierStage(plan_name: string, stage_id: string): EarlierStage | null {
    const rows = this.sql(
      `SELECT plan.* FROM plan JOIN certificate USING (plan_no, revision) WHERE name = ? ORDER BY plan_no DESC LIMIT 20`,
    ).all(plan_name) as PlanEntity[];
    for (const plan of rows.map(planRow)) {
      const stage_no = plan.spec.stages.findIndex((stage) => stage.id === stage_id);
      if (stage_no === -1) continue;
      const { executor_version } = this.stages(plan.plan_no)[stage_no]!;
      return { spec: plan.spec.stages[stage_no]!, executor_version };
    }
    return null;
  }

  failedResults(
    plan_no: number,
    revision: number,
    limit: number,
  ): { readonly stage_no: number; readonly result: ResultRow }[] {
    const rows = this.sql(
      `SELECT * FROM result WHERE plan_no = ? AND revision = ? AND failed > 0 ORDER BY stage_no, first_ordinal LIMIT ?`,
    ).all(plan_no, revision, limit) as ResultEntity[];
    return rows
      .flatMap((row) => parseResults(resultBatch(row)).map((result) => ({ stage_no: row.stage_no, result })))
      .filter(({ result }) => result.status === 'failed')
      .sort((a, b) => a.stage_no - b.stage_no || a.result.ordinal - b.result.ordinal)
      .slice(0, limit);
  }

  async plans(query: Parameters<CheckpointStore['plans']>[0]): Promise<PlanRow[]> {
    const where: FindOptionsWhere<PlanEntity> = {};
    if (query.before_no !== null) where.plan_no = LessThan(query.before_no);
    if (query.phase !== undefined) where.phase = query.phase;
    if (query.name !== undefined) where.name = query.name;
    const plans = this.source.getRepository(PlanEntity);
    return (await plans.find({ where, order: { plan_no: 'DESC' }, take: query.limit })).map(planRow);
  }

  async audit(query: { readonly after: number; readonly limit: number }): Promise<AuditView[]> {
    const rows = await this.source
      .getRepository(AuditEntity)
      .find({ where: { seq: MoreThan(query.after) }, order: { seq: 'ASC' }, take: query.limit });
    return rows.map((row) => ({
      seq: row.seq,
      time: utcSeconds(row.time),
      actor: row.actor,
      action: row.action,
      outcome: row.outcome as AuditView['outcome'],
      plan_id: row.plan_id,
      data: JSON.parse(row.data) as Json,
    }));
  }

  async events(query: Parameters<CheckpointStore['events']>[0]): Promise<StoredEvent[]> {
    const topics = query.topic === undefined ? null : this.topicsOf(query.topic, query.without);
    const rows =
      topics !== null && query.plan_id === undefined
        ? this.eventsOf(topics, query.after, query.limit)
        : await this.eventsAmong(topics, query);
    return rows.map((row) => ({ ...row, data: JSON.parse(row.data) as StoredEvent['data'] }));
  }

  /**
   * Merges the first events of each topic. The index has them in the order of their ids for one topic only: over a range of
   * topics SQLite would sort all their events for every page. Read in one go, so that no event is stored in between.
   */
  private eventsOf(topics: readonly string[], after: number, limit: number): EventEntity[] {
    const page = this.sql('SELECT * FROM event WHERE topic = ? AND id > ? ORDER BY id LIMIT ?');
    const rows = topics.flatMap((topic) => page.all(topic, after, limit) as EventEntity[]);
    return rows.sort((a, b) => a.id - b.id).slice(0, limit);
  }

  private eventsAmong(
    topics: readonly string[] | null,
    { plan_id, after, limit, without }: Parameters<CheckpointStore['events']>[0],
  ): Promise<EventEntity[]> {
    const where: FindOptionsWhere<EventEntity> = { id: MoreThan(after) };
    if (plan_id !== undefined) where.plan_id = plan_id;
    if (topics !== null) where.topic = In(topics);
    else if (without !== undefined) where.topic = Not(without);
    return this.source.getRepository(EventEntity).find({ where, order: { id: 'ASC' }, take: limit });
  }

  /** The stored topics that are asked for: one exactly, or all with a prefix that ends in `*`. One look-up for each. */
  private topicsOf(asked: string, without: string | undefined): string[] {
    if (!asked.endsWith('*')) return asked === without ? [] : [asked];
    const prefix = asked.slice(0, -1);
    const next = this.sql('SELECT min(topic) FROM event WHERE topic >= ?').pluck();
    const topics: string[] = [];
    for (let from = prefix; ;) {
      const topic = next.get(from) as string | null;
      if (!topic?.startsWith(prefix)) return topics;
      if (topic !== without) topics.push(topic);
      from = `${topic}\u0001`; // Topics hold no control characters: nothing sorts between the two.
    }
  }

  problems(): readonly string[] {
    const trouble = this.writer.trouble();
    return trouble === null ? [] : [trouble];
  }

  async close(): Promise<void> {
    await this.writer.close();
    await this.source.destroy();
    this.lock.close();
  }
}

async function connect(path: string): Promise<DataSource> {
  const source = new DataSource({
    type: 'better-sqlite3',
    database: path,
    entities,
    migrations: [InitialSchema1763900000000],
    migrationsRun: true,
    prepareDatabase: (db: Database.Database) => {
      secure(db);
      assertSound(db, path);
    },
  });
  return source.initialize();
}

function assertSound(db: Database.Database, path: string): void {
  const damage = db.pragma('quick_check(1)', { simple: true });
  if (damage !== 'ok') {
    throw new Error(`The checkpoint store ${path} is damaged: ${String(damage)}. Restore it from a backup.`);
  }
}

/**
 * Durability of the connection. better-sqlite3 falls back to synchronous=NORMAL after the first write in WAL mode unless
 * it is set explicitly, so it is set, and read back. `busy_timeout` blocks the event loop: it stays short, the writer
 * waits on its own.
 */
function secure(db: Database.Database): void {
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  db.pragma('busy_timeout = 50');
  db.pragma(`wal_autocheckpoint = ${wal_pages_max}`);
  const mode = db.pragma('journal_mode', { simple: true });
  const synchronous = db.pragma('synchronous', { simple: true });
  if (mode !== 'wal' || synchronous !== 2) {
    throw new Error(
      `The checkpoint store needs WAL and synchronous=FULL, got ${String(mode)} and ${String(synchronous)}.`,
    );
  }
}

/**
 * Leadership by a lock that the operating system releases when the process dies, however it dies: an exclusive SQLite
 * transaction on a file of its own, held open for as long as the store is.
 */
function lead(path: string): Database.Database {
  const lock = new Database(path);
  lock.pragma('busy_timeout = 0');
  try {
    lock.exec('BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock.close();
    if ((error as { code?: string }).code !== 'SQLITE_BUSY') throw error;
    throw new StoreInUse(
      'Another HXO process leads this checkpoint store. Stop it first, or give this one its own HXO_HOME or HXO_DB_PATH.',
    );
  }
}
