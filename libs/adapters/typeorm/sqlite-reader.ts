import { existsSync } from 'node:fs';
import Database from 'better-sqlite3';
import {
  block_shards,
  blockOf,
  parseResults,
  type CertificateRow,
  type PlanReader,
  type PlanRow,
  type ResultBatch,
  type ResultRow,
  type Segment,
  type StageRow,
} from '#hxo';
import type { CertificateEntity, PlanEntity, ResultEntity, SegmentEntity, StageEntity } from './entities.js';
import { certificateRow, planRow, resultBatch, segmentRow, stageRow } from './rows.js';

/**
 * What the iterators read at a time, in rows and in characters of their lines; the row that goes beyond is the page's last. A
 * statement is never left open between two turns of a consumer.
 */
const page_rows = 16;
const page_length_max = 4 * 2 ** 20;

/** Reads plans over one connection: the store's own, or a read-only one of a thread or of `hxo verify --store`. */
export class SqlitePlanReader implements PlanReader {
  private readonly statements = new Map<string, Database.Statement>();

  constructor(protected readonly db: Database.Database) {}

  planById(plan_id: string): PlanRow | null {
    const row = this.sql('SELECT * FROM plan WHERE plan_id = ?').get(plan_id) as PlanEntity | undefined;
    return row === undefined ? null : planRow(row);
  }

  planByNo(plan_no: number): PlanRow | null {
    const row = this.sql('SELECT * FROM plan WHERE plan_no = ?').get(plan_no) as PlanEntity | undefined;
    return row === undefined ? null : planRow(row);
  }

  stages(plan_no: number): StageRow[] {
    const rows = this.sql('SELECT * FROM stage WHERE plan_no = ? ORDER BY stage_no').all(plan_no);
    return (rows as StageEntity[]).map(stageRow);
  }

  *segments(plan_no: number, stage_no: number, from = 0): IterableIterator<Segment> {
    const first = this.sql(
      'SELECT max(first_ordinal) AS first FROM segment WHERE plan_no = ? AND stage_no = ? AND first_ordinal <= ?',
    ).get(plan_no, stage_no, from) as { readonly first: number | null };
    const page = this.sql(
      'SELECT * FROM segment WHERE plan_no = ? AND stage_no = ? AND first_ordinal >= ? ORDER BY first_ordinal LIMIT ' +
        String(page_rows),
    );
    const read = (next: number) => page.iterate(plan_no, stage_no, next) as IterableIterator<SegmentEntity>;
    yield* paged(first.first ?? 0, segmentRow, read);
  }

  *resultBatches(
    plan_no: number,
    revision: number,
    stage_no: number,
    from = 0,
    below = Infinity,
  ): IterableIterator<ResultBatch> {
    const page = this.sql(
      `SELECT * FROM result
       WHERE plan_no = ? AND revision = ? AND stage_no = ? AND first_ordinal >= ? AND first_ordinal < ?
       ORDER BY first_ordinal LIMIT ${page_rows}`,
    );
    const end = Math.min(below, Number.MAX_SAFE_INTEGER);
    const read = (next: number) =>
      page.iterate(plan_no, revision, stage_no, next, end) as IterableIterator<ResultEntity>;
    yield* paged(from, resultBatch, read);
  }

  countResults(plan_no: number, revision: number, stage_no: number, from: number, below: number): number {
    return this.sql(
      `SELECT coalesce(sum(count), 0) FROM result
       WHERE plan_no = ? AND revision = ? AND stage_no = ? AND first_ordinal >= ? AND first_ordinal < ?`,
    )
      .pluck()
      .get(plan_no, revision, stage_no, from, below) as number;
  }

  *results(
    plan_no: number,
    revision: number,
    stage_no: number,
    from = 0,
    below = Infinity,
  ): IterableIterator<ResultRow> {
    const wanted = ({ ordinal }: ResultRow): boolean => ordinal >= from && ordinal < below;
    // The row of a shard may begin anywhere in its block, and rows of one block may hold shards in turns.
    let block: ResultRow[] = [];
    let block_no = blockOf(from);
    for (const batch of this.resultBatches(plan_no, revision, stage_no, block_no * block_shards, below)) {
      if (blockOf(batch.first_ordinal) !== block_no) {
        yield* inOrder(block).filter(wanted);
        block = [];
        block_no = blockOf(batch.first_ordinal);
      }
      block.push(...parseResults(batch));
    }
    yield* inOrder(block).filter(wanted);
  }

  certificate(plan_no: number, revision: number): CertificateRow | null {
    const row = this.sql('SELECT * FROM certificate WHERE plan_no = ? AND revision = ?').get(
      plan_no,
      revision,
    );
    return row === undefined ? null : certificateRow(row as CertificateEntity);
  }

  certifiedPlans(): { readonly plan_no: number; readonly revision: number }[] {
    const rows = this.sql(
      `SELECT plan_no, revision FROM certificate
       UNION SELECT plan_no, revision FROM plan WHERE root IS NOT NULL OR phase = 'succeeded' ORDER BY plan_no, revision`,
    ).all();
    return rows as { plan_no: number; revision: number }[];
  }

  /** A prepared statement, kept for the next call. */
  protected sql(text: string): Database.Statement {
    let statement = this.statements.get(text);
    if (statement === undefined) {
      statement = this.db.prepare(text);
      this.statements.set(text, statement);
    }
    return statement;
  }
}

/** Rows as the engine knows them, read a page at a time. `read` begins with the row of an ordinal, or the first after it. */
function* paged<Entity, Row extends { readonly first_ordinal: number; readonly lines: string }>(
  from: number,
  rowOf: (entity: Entity) => Row,
  read: (next: number) => Iterable<Entity>,
): IterableIterator<Row> {
  for (let next = from; ;) {
    const page: Row[] = [];
    let length = 0;
    for (const entity of read(next)) {
      const row = rowOf(entity);
      page.push(row);
      length += row.lines.length;
      if (length > page_length_max) break;
    }
    yield* page;
    if (page.length < page_rows && length <= page_length_max) return;
    next = page.at(-1)!.first_ordinal + 1;
  }
}

function inOrder(results: ResultRow[]): ResultRow[] {
  return results.sort((a, b) => a.ordinal - b.ordinal);
}

/**
 * Opens a store for reading only, and leaves the files that it finds. Throws when the file is missing or is not a database.
 *
 * SQLite makes `-wal` and `-shm` even to read a store in WAL mode. Only a connection that may write takes them away when
 * it is the last one to close; nothing else can do so safely, since a server may start at any time. Such a connection
 * would also write back a log that a crash has left, so a store with a log is opened read-only: its files stay as they are.
 */
export function openPlanReader(path: string): SqlitePlanReader & { close(): void } {
  const db = new Database(path, { readonly: existsSync(`${path}-wal`), fileMustExist: true });
  db.pragma('query_only = ON');
  db.pragma('busy_timeout = 5000'); // Never on the API's event loop: only threads and command-line tools read this way.
  return Object.assign(new SqlitePlanReader(db), { close: () => void db.close() });
}
