import {
  counted,
  type PlanListItem,
  type ReportView,
  type SearchView,
  type ShardView,
  type StatusView,
} from '#hxo';

/** One paragraph on where a plan stands. */
export function statusText(status: StatusView): string {
  return lines(
    `Plan ${status.plan_id} (${status.plan_name}): ${status.phase}`,
    countsLine(status),
    status.waiting_for && `Waits for ${status.waiting_for}`,
    status.eta_seconds !== null && status.finished_at === null && `ETA     ${status.eta_seconds} s`,
    timesLine(status),
    status.error && `Error   ${status.error.code}: ${status.error.detail}`,
    `Root    ${status.merkle_root ?? (status.finished_at === null ? 'not yet' : 'none')}${status.truth_certified ? ', certified' : ''}`,
    stageTable(status),
    ...truncationLines(status),
  );
}

/** The last line of a watch: how the plan ended and where to look next. */
export function outcomeText(status: StatusView): string {
  const { plan_id, merkle_root } = status;
  if (status.phase === 'succeeded') {
    return (
      `Plan ${plan_id} succeeded: ${counted(status.done_shards, 'shard')} done, ${status.reused_shards} of them reused. ` +
      `Root ${merkle_root ?? 'none'}, ${status.truth_certified ? 'certified' : 'not certified'}.`
    );
  }
  return lines(
    `Plan ${plan_id} ended ${status.phase}: ${counted(status.done_shards, 'shard')} done, ${status.failed_shards} failed, ` +
      `${status.skipped_shards} skipped.`,
    status.error && `${status.error.code}: ${status.error.detail}`,
    `Look into it: hxo report ${plan_id}; hxo shards ${plan_id} --phase failed`,
  );
}

/** A report for people: counts, SLO verdicts, reuse and misses, failures, truncations, root, certificate. */
export function reportText(report: ReportView): string {
  return lines(
    `Plan ${report.plan_id} (${report.plan_name}): ${report.phase}`,
    !report.final && 'Not final: the plan goes on, and all of this may still change.',
    report.error && `Error   ${report.error.code}: ${report.error.detail}`,
    countsLine(report),
    timesLine(report),
    '',
    stageTable(report),
    section('SLO', report.slo.map(sloLine)),
    section('Reuse', reuseLines(report)),
    section('Truncated', truncationLines(report)),
    section('Failures', failureLines(report)),
    section('Outputs', outputLines(report)),
    section('Notes', report.notes),
    '',
    `Root         ${report.merkle_root ?? 'none yet'}`,
    `Certificate  ${certificateLine(report)}`,
  );
}

export function plansText(plans: readonly PlanListItem[]): string {
  if (plans.length === 0) return 'No plans. Submit one: hxo submit plan.json';
  return table([
    ['PLAN', 'NAME', 'PHASE', 'DONE', 'FAILED', 'CERTIFIED', 'SUBMITTED'],
    ...plans.map((plan) => [
      plan.plan_id,
      plan.plan_name,
      plan.phase,
      `${plan.done_shards}/${plan.total_shards}`,
      String(plan.failed_shards),
      plan.truth_certified ? 'yes' : 'no',
      plan.submitted_at ?? (plan.phase === 'created' ? 'not yet' : 'never'),
    ]),
  ]);
}

export function searchText({ total, items, plan_id, stage }: SearchView): string {
  if (items.length === 0) return `No page of stage ${stage} of plan ${plan_id} has all these words.`;
  const rows = items.map(({ route, title, snippet }) => [route, title, snippet]);
  return `${table([['ROUTE', 'TITLE', 'TEXT'], ...rows])}\n${items.length} of ${total} pages, from stage ${stage} of plan ${plan_id}.`;
}

export function shardsText(items: readonly ShardView[]): string {
  if (items.length === 0) return 'No such shards.';
  return table([
    ['STAGE', 'ORDINAL', 'PHASE', 'ATTEMPT', 'FAILURES', 'MS', 'DETAIL'],
    ...items.map((shard) => [
      shard.stage,
      String(shard.ordinal),
      shard.phase,
      String(shard.attempt),
      String(shard.failures),
      shard.duration_ms === null ? '' : String(Math.round(shard.duration_ms)),
      shardDetail(shard),
    ]),
  ]);
}

function shardDetail(shard: ShardView): string {
  if (shard.error !== null) return `${shard.error.code}: ${shard.error.message}`;
  if (shard.reused) return `reused from plan ${shard.producing_plan_id ?? 'unknown'}`;
  return shard.reuse_miss === null ? '' : `executed: ${shard.reuse_miss}`;
}

function countsLine(plan: StatusView): string {
  const total = plan.total_final
    ? counted(plan.total_shards, 'shard')
    : `${counted(plan.total_shards, 'shard')} so far`;
  return (
    `Shards  ${total}: ${plan.done_shards} done (${plan.reused_shards} reused), ${plan.failed_shards} failed, ` +
    `${plan.running_shards} running, ${plan.claimed_shards} claimed, ${plan.pending_shards} pending ` +
    `(${plan.retrying_shards} retrying, ${plan.skipped_shards} skipped)`
  );
}

function timesLine(plan: StatusView): string | null {
  const { submitted_at, started_at, finished_at } = plan;
  if (started_at === null) return submitted_at === null ? null : `Times   submitted ${submitted_at}`;
  if (finished_at === null) return `Times   started ${started_at}`;
  const seconds = (Date.parse(finished_at) - Date.parse(started_at)) / 1000;
  return `Times   ${started_at} to ${finished_at} (${seconds} s)`;
}

function stageTable(plan: StatusView): string {
  return table([
    ['STAGE', 'KIND', 'EXECUTOR', 'PHASE', 'DONE', 'REUSED', 'FAILED', 'SKIPPED'],
    ...plan.stages.map((stage) => [
      stage.id,
      stage.kind,
      `${stage.executor} ${stage.executor_version}`,
      stage.phase,
      `${stage.done_shards}/${stage.total_shards}`,
      String(stage.reused_shards),
      String(stage.failed_shards),
      String(stage.skipped_shards),
    ]),
  ]);
}

function sloLine(slo: ReportView['slo'][number]): string {
  const elapsed = slo.elapsed_ms === null ? '' : `, took ${slo.elapsed_ms} ms`;
  return `${slo.stage}: ${slo.verdict.replace('_', ' ')} (limit ${slo.slo_ms} ms${elapsed})`;
}

function reuseLines(report: ReportView): string[] {
  const { reused, executed, misses } = report.reuse;
  const reasons = Object.entries(misses).map(([reason, count]) => `${count} executed: ${reason}`);
  return [`${counted(reused, 'shard')} reused, ${executed} executed`, ...reasons];
}

function truncationLines({ stages }: StatusView): string[] {
  return stages
    .filter((stage) => (stage.truncated ?? 0) > 0)
    .map(
      (stage) =>
        `${stage.id}: ${stage.truncated} of ${counted(stage.matched ?? 0, 'item')} left out by ${stage.capped_by ?? 'a cap'}; ${stage.taken} taken`,
    );
}

function failureLines(report: ReportView): string[] {
  const listed = report.failures.map(
    (failure) =>
      `${failure.stage}/${failure.ordinal} ${failure.code}: ${failure.message} (failed ${counted(failure.failures, 'time')})`,
  );
  const more = report.failed_shards - listed.length;
  return more > 0 ? [...listed, `and ${more} more: hxo shards ${report.plan_id} --phase failed`] : listed;
}

function outputLines(report: ReportView): string[] {
  return report.outputs.flatMap((output) => [
    `${output.stage}: ${output.digest}`,
    ...output.artifacts.map(
      (artifact) => `  ${artifact.name}: ${artifact.digest} (${counted(artifact.bytes, 'byte')})`,
    ),
  ]);
}

function certificateLine(report: ReportView): string {
  if (!report.truth_certified || report.signer === null) return 'none';
  return `signed by key ${report.signer.key_id}; check it offline: hxo verify <report.json> --key <public key>`;
}

function section(title: string, content: readonly string[]): string | false {
  return content.length > 0 && ['', title, ...content.map((line) => `  ${line}`)].join('\n');
}

/** Joins lines, leaving out what is absent. */
function lines(...parts: readonly (string | false | null)[]): string {
  return parts.filter((part) => part !== false && part !== null).join('\n');
}

/** Rows in columns as wide as their widest cell. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
