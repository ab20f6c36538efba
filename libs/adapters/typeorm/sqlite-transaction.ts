import { canonicalJson, digestBytes, parseDigest, type Digest } from '#truth';
import {
  assertPlanTransition,
  assertStageTransition,
  block_shards,
  blockOf,
  printRanges,
  type AuditView,
  type BundleRow,
  type CertificateRow,
  type FailureRow,
  type NewEvent,
  type PlanId,
  type PlanPhase,
  type PlanRow,
  type ResultBatch,
  type ResultRow,
  type Segment,
  type StagePhase,
  type StageRow,
  type StoredEvent,
  type Transaction,
} from '#hxo';
import { never } from './rows.js';
import { SqlitePlanReader } from './sqlite-reader.js';

/** Segments that one `discardStage` removes: about as much work as the writer does before it commits. */
const discard_segments = 16;

/** The writes of one transaction, as prepared statements on the one writing connection. Called only by the FIFO writer. */
export class SqliteTransaction extends SqlitePlanReader implements Transaction {
  /**
   * The block of results that was asked for last: a report that comes twice asks for all of its shards, and segments may be
   * much smaller than a block.
   */
  private standing: { readonly name: string; readonly results: ReadonlyMap<number, ResultRow> } | null = null;

  insertPlan(plan: Omit<PlanRow, 'plan_no'>, executor_versions: readonly string[]): number {
    const { lastInsertRowid } = this.sql(
      `INSERT INTO plan (plan_id, name, spec, spec_digest, revision, phase, submitted_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
    ).run(
      plan.plan_id,
      plan.name,
      canonicalJson(plan.spec),
      digestBytes(plan.spec_digest),
      plan.revision,
      plan.phase,
      plan.submitted_at ?? never,
    );
    const plan_no = Number(lastInsertRowid);
    executor_versions.forEach((version, stage_no) => {
      this.sql(
        `INSERT INTO stage (plan_no, stage_no, phase, executor_version) VALUES (?, ?, 'waiting', ?)`,
      ).run(plan_no, stage_no, version);
    });
    return plan_no;
  }

  planPhase(plan_no: number): PlanPhase {
    return this.sql('SELECT phase FROM plan WHERE plan_no = ?').pluck().get(plan_no) as PlanPhase;
  }

  updatePlan(
    plan_no: number,
    change: Partial<
      Pick<PlanRow, 'phase' | 'submitted_at' | 'started_at' | 'finished_at' | 'error' | 'root'>
    >,
  ): void {
    if (change.phase !== undefined) assertPlanTransition(this.planPhase(plan_no), change.phase);
    const { error, root, ...plain } = change;
    const columns: Record<string, unknown> = { ...plain };
    if (error !== undefined)
      Object.assign(columns, { error_code: error?.code ?? null, error_detail: error?.detail ?? null });
    if (root !== undefined) columns.root = root === null ? null : digestBytes(root);
    this.update('plan', columns, { plan_no });
  }

  updateStage(
    plan_no: number,
    stage_no: number,
    change: Partial<Omit<StageRow, 'plan_no' | 'stage_no'>>,
  ): void {
    if (change.phase !== undefined) {
      const from = this.sql('SELECT phase FROM stage WHERE plan_no = ? AND stage_no = ?').pluck();
      assertStageTransition(from.get(plan_no, stage_no) as StagePhase, change.phase);
    }
    const { misses, output, ...plain } = change;
    const columns: Record<string, unknown> = { ...plain };
    if (misses !== undefined) columns.misses = JSON.stringify(misses);
    if (output !== undefined) columns.output = output === null ? null : canonicalJson(output);
    this.update('stage', columns, { plan_no, stage_no });
  }

  endStages(plan_no: number, failed_stage_no: number | null, at: number): void {
    this.sql(
      `UPDATE stage SET skipped = total - done - failed, finished_at = ?, phase = CASE
         WHEN stage_no IS ? THEN 'failed' WHEN phase IN ('waiting', 'ready') THEN 'skipped' ELSE 'aborted' END
       WHERE plan_no = ? AND phase NOT IN ('done', 'failed', 'skipped')`,
    ).run(at, failed_stage_no, plan_no);
  }

  countStage(plan_no: number, stage_no: number, add: Parameters<Transaction['countStage']>[2]): void {
    this.sql(
      `UPDATE stage SET total = total + ?, done = done + ?, reused = reused + ?, failed = failed + ?, skipped = skipped + ?
       WHERE plan_no = ? AND stage_no = ?`,
    ).run(
      add.total ?? 0,
      add.done ?? 0,
      add.reused ?? 0,
      add.failed ?? 0,
      add.skipped ?? 0,
      plan_no,
      stage_no,
    );
  }

  insertSegment(plan_no: number, stage_no: number, segment: Segment): void {
    this.sql(
      `INSERT INTO segment (plan_no, stage_no, first_ordinal, count, wave, cas, lines, digest, misses)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ).run(
      plan_no,
      stage_no,
      segment.first_ordinal,
      segment.count,
      segment.wave,
      segment.cas,
      segment.lines,
      digestBytes(segment.digest),
      segment.misses,
    );
  }

  discardStage(plan_no: number, stage_no: number): void {
    const from = (this.sql(
      `SELECT first_ordinal FROM segment WHERE plan_no = ? AND stage_no = ?
       ORDER BY first_ordinal DESC LIMIT 1 OFFSET ${discard_segments - 1}`,
    )
      .pluck()
      .get(plan_no, stage_no) ?? 0) as number;
    const results = 'FROM result WHERE plan_no = ? AND stage_no = ? AND first_ordinal >= ?';
    const gone = this.sql(`SELECT coalesce(sum(count), 0) ${results}`).pluck();
    const discarded = gone.get(plan_no, stage_no, from) as number;
    this.sql(`DELETE ${results}`).run(plan_no, stage_no, from);
    this.sql('DELETE FROM segment WHERE plan_no = ? AND stage_no = ? AND first_ordinal >= ?').run(
      plan_no,
      stage_no,
      from,
    );
    // Half a partition has no results but reused ones.
    this.sql(
      'UPDATE stage SET total = ?, done = done - ?, reused = reused - ? WHERE plan_no = ? AND stage_no = ?',
    ).run(from, discarded, discarded, plan_no, stage_no);
  }

  insertBundle(plan_no: number, bundle: BundleRow, at: number): void {
    this.sql(
      `INSERT INTO bundle (plan_no, bundle, stage_no, ordinals, attempt, state, leased_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
    ).run(
      plan_no,
      bundle.bundle,
      bundle.stage_no,
      printRanges(bundle.ordinals),
      bundle.attempt,
      bundle.state,
      at,
    );
  }

  setBundleState(plan_no: number, bundle: number, state: BundleRow['state'], worker: string | null): void {
    this.sql('UPDATE bundle SET state = ?, worker = ? WHERE plan_no = ? AND bundle = ?').run(
      state,
      worker,
      plan_no,
      bundle,
    );
  }

  insertResults(plan_no: number, revision: number, batches: readonly ResultBatch[]): void {
    this.standing = null;
    const insert = this.sql(
      `INSERT INTO result (plan_no, revision, stage_no, first_ordinal, count, failed, attempt, source_plan_no, worker,
         finished_at, lines) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    for (const batch of batches) {
      insert.run(
        plan_no,
        revision,
        batch.stage_no,
        batch.first_ordinal,
        batch.count,
        batch.failed,
        batch.attempt,
        batch.source_plan_no,
        batch.worker,
        batch.finished_at,
        batch.lines,
      );
    }
  }

  standingResult(plan_no: number, revision: number, stage_no: number, ordinal: number): ResultRow | null {
    return this.standingBlock(plan_no, revision, stage_no, blockOf(ordinal)).get(ordinal) ?? null;
  }

  private standingBlock(
    plan_no: number,
    revision: number,
    stage_no: number,
    block: number,
  ): ReadonlyMap<number, ResultRow> {
    const name = `${plan_no}/${revision}/${stage_no}/${block}`;
    if (this.standing?.name !== name) {
      const from = block * block_shards;
      const rows = this.results(plan_no, revision, stage_no, from, from + block_shards);
      this.standing = { name, results: new Map(Array.from(rows, (row) => [row.ordinal, row])) };
    }
    return this.standing.results;
  }

  insertFailure(plan_no: number, stage_no: number, failure: FailureRow): boolean {
    const { changes } = this.sql(
      `INSERT INTO failure (plan_no, stage_no, ordinal, attempt, code, message, worker, at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
    ).run(
      plan_no,
      stage_no,
      failure.ordinal,
      failure.attempt,
      failure.code,
      failure.message,
      failure.worker,
      failure.at,
    );
    return changes === 1;
  }

  fillReuse(plan_no: number, revision: number, stage_no: number, segment: Segment): void {
    const { first_ordinal, count } = segment;
    // What counts for nobody yet must not hide what a certified plan offers: this plan may still be stopped.
    const insert = this.sql(
      `INSERT INTO reuse (cas, plan_no, revision, stage_no, ordinal) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (cas) DO UPDATE SET plan_no = excluded.plan_no, revision = excluded.revision,
         stage_no = excluded.stage_no, ordinal = excluded.ordinal
       WHERE EXISTS (SELECT 1 FROM certificate AS own
                     WHERE own.plan_no = excluded.plan_no AND own.revision = excluded.revision)
          OR NOT EXISTS (SELECT 1 FROM certificate AS other
                         WHERE other.plan_no = reuse.plan_no AND other.revision = reuse.revision)`,
    );
    let results = this.standingBlock(plan_no, revision, stage_no, blockOf(first_ordinal));
    for (let i = 0; i < count; i++) {
      const ordinal = first_ordinal + i;
      if (ordinal % block_shards === 0)
        results = this.standingBlock(plan_no, revision, stage_no, blockOf(ordinal));
      const result = results.get(ordinal);
      if (result?.status !== 'done' || result.source_plan_no !== null) continue;
      insert.run(segment.cas.subarray(i * 32, (i + 1) * 32), plan_no, revision, stage_no, ordinal);
    }
  }

  insertCertificate(plan_no: number, revision: number, certificate: CertificateRow): void {
    this.sql(
      `INSERT INTO certificate (plan_no, revision, envelope, key_id, public_key, leaves, leaves_bytes, records, records_bytes)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ).run(
      plan_no,
      revision,
      JSON.stringify(certificate.envelope),
      digestBytes(certificate.key_id),
      certificate.public_key,
      digestBytes(certificate.leaves.digest),
      certificate.leaves.bytes,
      digestBytes(certificate.records.digest),
      certificate.records.bytes,
    );
  }

  appendEvents(events: readonly NewEvent[]): StoredEvent[] {
    const insert = this.sql('INSERT INTO event (topic, time, plan_id, data) VALUES (?, ?, ?, ?)');
    return events.map((event) => {
      const { lastInsertRowid } = insert.run(
        event.topic,
        event.time,
        event.plan_id,
        JSON.stringify(event.data),
      );
      return { ...event, id: Number(lastInsertRowid) };
    });
  }

  appendAudit(entry: Omit<AuditView, 'seq' | 'time'> & { readonly time: number }): number {
    const { lastInsertRowid } = this.sql(
      'INSERT INTO audit_entry (time, actor, action, outcome, plan_id, data) VALUES (?, ?, ?, ?, ?, ?)',
    ).run(entry.time, entry.actor, entry.action, entry.outcome, entry.plan_id, canonicalJson(entry.data));
    return Number(lastInsertRowid);
  }

  claimIdempotencyKey(
    key: string,
    body: Digest,
    plan_id: PlanId,
    at: number,
  ): { readonly plan_id: PlanId; readonly body: Digest } | null {
    const { changes } = this.sql(
      'INSERT INTO idempotency_key (key, body, plan_id, at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING',
    ).run(key, digestBytes(body), plan_id, at);
    if (changes === 1) return null;
    const row = this.sql('SELECT plan_id, body FROM idempotency_key WHERE key = ?').get(key) as {
      plan_id: PlanId;
      body: Buffer;
    };
    return { plan_id: row.plan_id, body: parseDigest(row.body.toString('hex')) };
  }

  private update(table: string, columns: Record<string, unknown>, where: Record<string, number>): void {
    const names = Object.keys(columns);
    if (names.length === 0) return;
    const set = names.map((name) => `${name} = ?`).join(', ');
    const condition = Object.keys(where)
      .map((name) => `${name} = ?`)
      .join(' AND ');
    this.sql(`UPDATE ${table} SET ${set} WHERE ${condition}`).run(
      ...Object.values(columns),
      ...Object.values(where),
    );
  }
}
