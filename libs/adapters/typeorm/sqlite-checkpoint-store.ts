import type { Database } from 'better-sqlite3';
import { In, LessThan, MoreThan, Not, type DataSource, type FindOptionsWhere } from 'typeorm';
import type { Json } from '#truth';
import {
  parseResults,
  unfinished_phases,
  utcSeconds,
  type AuditView,
  type BundleRow,
  type CheckpointStore,
  type EarlierStage,
  type FailureRow,
  type Patience,
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
  type BundleEntity,
  type ResultEntity,
  type SegmentEntity,
} from './entities.js';
import { FifoWriter } from './fifo-writer.js';
import { openStore } from './open-store.js';
import { ReuseReader } from './reuse-reader.js';
import { bundleRow, planRow, resultBatch, segmentRow } from './rows.js';
import { SqlitePlanReader } from './sqlite-reader.js';
import { SqliteTransaction } from './sqlite-transaction.js';

/** The checkpoint store in one SQLite file: entities and migrations by TypeORM, hot paths as prepared statements. */
export class SqliteCheckpointStore extends SqlitePlanReader implements CheckpointStore {
  private readonly tx: SqliteTransaction;
  private readonly reuse: ReuseReader;

  private constructor(
    private readonly source: DataSource,
    db: Database,
    private readonly writer: FifoWriter,
    private readonly lock: Database,
  ) {
    super(db);
    this.tx = new SqliteTransaction(db);
    this.reuse = new ReuseReader(db);
  }

  /**
   * Opens the store, takes the leadership of it, and brings the schema up to date.
   * Throws {@link StoreInUse} when another process leads it, and an Error when the file is damaged.
   *
   * @param fatal called when durability is in doubt: the process must end
   */
  static async open(path: string, fatal: (error: Error) => void): Promise<SqliteCheckpointStore> {
    const { source, db, lock } = await openStore(path);
    return new SqliteCheckpointStore(source, db, new FifoWriter(db, fatal), lock);
  }

  write<T>(work: (tx: Transaction) => T, patience: Patience): Promise<T> {
    return this.writer.run(() => work(this.tx), patience);
  }

  unfinishedPlans(): Pick<PlanRow, 'plan_no' | 'plan_id'>[] {
    const unfinished = unfinished_phases.map((phase) => `'${phase}'`).join(', ');
    return this.sql(
      `SELECT plan_no, plan_id FROM plan WHERE phase IN (${unfinished}) ORDER BY plan_no`,
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
    return this.reuse.find(cas);
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
    ).iterate(plan_no, revision, limit) as IterableIterator<ResultEntity>;
    const failed: { readonly stage_no: number; readonly result: ResultRow }[] = [];
    // Row by row: what was done beside them may be much more than they are.
    for (const row of rows)
      for (const result of parseResults(resultBatch(row)))
        if (result.status === 'failed') failed.push({ stage_no: row.stage_no, result });
    return failed
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
