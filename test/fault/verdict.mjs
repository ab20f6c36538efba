import { readFileSync } from 'node:fs';
import Database from 'better-sqlite3';
import { inputsOf, valueOf } from './ledger-executor.mjs';

/** Lease (30 s) and 40 s: longer than that nothing may wait. */
export const wait_max_ms = 30_000 + 40_000;
/** Every so many-th value of the quiet run is computed again. */
const recomputed_every = 50;

/**
 * What the store's file and the ledger say of a campaign, whatever HXO says. The first plan is the quiet one: what the others
 * must come to.
 *
 * @param plan_ids in the order in which they were submitted
 * @returns one row of figures for each plan, and everything that is wrong, in words
 */
export function judge({ db_path, ledger_path, plan_ids, shards }) {
  const ledger = readLedger(ledger_path);
  const db = new Database(db_path, { readonly: true });
  try {
    const problems = [];
    const plans = [];
    let quiet = null;
    for (const [i, plan_id] of plan_ids.entries()) {
      const plan = readPlan(db, plan_id);
      const complain = (what) => problems.push(`plan ${i + 1} (${plan_id}): ${what}`);
      quiet ??= quietRun(plan, complain);
      plans.push({ plan: i + 1, plan_id, ...judgePlan(plan, quiet, ledger[i] ?? [], shards, complain) });
    }
    const [{ n }] = db.prepare('SELECT count(*) AS n FROM plan').all();
    if (n !== plan_ids.length) problems.push(`The store has ${n} plans, ${plan_ids.length} were submitted.`);
    return { plans, problems };
  } finally {
    db.close();
  }
}

/** Lines of the ledger, one list for each plan in the order of their submission. */
function readLedger(path) {
  const plans = [];
  for (const text of readFileSync(path, 'latin1').split('\n')) {
    if (text === '') continue;
    if (text.startsWith('plan ')) {
      plans.push([]);
      continue;
    }
    const [at, pid, ordinal, attempt] = text.split(' ').map(Number);
    if (![at, pid, ordinal, attempt].every(Number.isSafeInteger))
      throw new Error(`A torn ledger line: ${text}`);
    plans.at(-1).push({ at, pid, ordinal, attempt });
  }
  return plans;
}

function readPlan(db, plan_id) {
  const row = db.prepare('SELECT * FROM plan WHERE plan_id = ?').get(plan_id);
  if (row === undefined) return null;
  const all = (sql) => db.prepare(sql).all(row.plan_no);
  return {
    ...row,
    root: row.root?.toString('hex') ?? null,
    results: all('SELECT * FROM result WHERE plan_no = ?')
      .flatMap(resultsOf)
      .sort((a, b) => a.ordinal - b.ordinal),
    bundles: all('SELECT * FROM bundle WHERE plan_no = ? ORDER BY bundle'),
    failures: all('SELECT * FROM failure WHERE plan_no = ?'),
  };
}

/** The results of a row: one a line, fields between tabs. */
function resultsOf({ lines, ...row }) {
  return lines
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [ordinal, , status, , , value] = line.split('\t');
      return { ...row, ordinal: Number(ordinal), status, value };
    });
}

/** The quiet plan's root and values, some of which are computed again. */
function quietRun(plan, complain) {
  const values = new Map((plan?.results ?? []).map(({ ordinal, value }) => [ordinal, value]));
  const wrong = [...values].filter(([ordinal, text]) => {
    if (ordinal % recomputed_every !== 0) return false;
    const { n, digest } = JSON.parse(text);
    const right = valueOf(inputsOf(ordinal));
    return n !== right.n || digest !== right.digest;
  });
  if (wrong.length > 0) complain(`${wrong.length} values are wrong, such as ${JSON.stringify(wrong[0])}`);
  return { root: plan?.root ?? null, values };
}

function judgePlan(plan, quiet, lines, shards, complain) {
  if (plan === null) {
    complain('it is not in the store');
    return {};
  }
  const { results, bundles, failures } = plan;
  if (plan.phase !== 'succeeded' || plan.finished_at === null)
    complain(`its phase is ${plan.phase} (${plan.error_code ?? 'no error'}: ${plan.error_detail ?? ''})`);
  if (plan.root === null || plan.root !== quiet.root) complain(`its root is ${plan.root}, not ${quiet.root}`);
  judgeResults(results, quiet, shards, complain);
  const open = bundles.filter(({ state }) => state === 'open');
  if (open.length > 0) complain(`${open.length} bundles are open, such as ${JSON.stringify(open[0])}`);
  if (failures.length > 0) complain(`${failures.length} failures, such as ${JSON.stringify(failures[0])}`);
  const unledgered = results.filter(notIn(lines));
  if (unledgered.length > 0)
    complain(`${unledgered.length} results are not in the ledger, such as ${JSON.stringify(unledgered[0])}`);
  const end = plan.finished_at ?? Date.now();
  const waits = {
    longest_wait_s: longestGap(plan.submitted_at, lines, 'at', end),
    longest_result_wait_s: longestGap(plan.submitted_at, results, 'finished_at', end),
    longest_lease_s: longestLease(bundles, results, end),
  };
  for (const [name, s] of Object.entries(waits))
    if (s * 1000 >= wait_max_ms) complain(`${name} is ${s}, the bar is ${wait_max_ms / 1000}`);
  return {
    seconds: round((end - plan.submitted_at) / 1000),
    results: results.length,
    executions: lines.length,
    leases_lost: bundles.filter(({ state }) => state === 'lost').length,
    late_accepted: results.filter(({ attempt }) => attempt > 1).length,
    ...waits,
  };
}

/** One result for each shard, done, with the value of the quiet run. */
function judgeResults(results, quiet, shards, complain) {
  const ordinals = new Set(results.map(({ ordinal }) => ordinal));
  const strange = results.filter(({ ordinal }) => ordinal < 0 || ordinal >= shards);
  if (results.length !== shards || ordinals.size !== shards || strange.length > 0)
    complain(
      `${results.length} results of ${ordinals.size} shards, ${strange.length} of them none of its ${shards}`,
    );
  const undone = results.filter(({ status }) => status !== 'done');
  if (undone.length > 0)
    complain(`${undone.length} results are not done, such as ${JSON.stringify(undone[0])}`);
  const other = results.filter(({ ordinal, value }) => value !== quiet.values.get(ordinal));
  if (other.length > 0)
    complain(`${other.length} values differ from the quiet run's, such as ${JSON.stringify(other[0])}`);
}

/**
 * Tells results whose execution is not in the ledger: the shard, executed under that lease, by that process (a worker's name
 * ends in its process id), before it was accepted.
 */
function notIn(lines) {
  const executed = new Map();
  for (const { ordinal, attempt, pid, at } of lines) {
    const key = `${ordinal}/${attempt}/${pid}`;
    executed.set(key, Math.min(at, executed.get(key) ?? Infinity));
  }
  return ({ ordinal, attempt, worker, finished_at }) => {
    const pid = /-(\d+)$/.exec(worker)?.[1];
    return !((executed.get(`${ordinal}/${attempt}/${pid}`) ?? Infinity) <= finished_at);
  };
}

/** The longest time between two of the rows, or between one and the plan's beginning or end. */
function longestGap(begin, rows, column, end) {
  const times = rows.map((row) => row[column]).filter((at) => at >= begin && at <= end);
  times.sort((a, b) => a - b);
  let longest = 0;
  let last = begin;
  for (const at of [...times, end]) {
    longest = Math.max(longest, at - last);
    last = at;
  }
  return round(longest / 1000);
}

/** The longest time from a shard's lease to its result, or to its next lease when that one came to nothing. */
function longestLease(bundles, results, end) {
  const leases = new Map();
  for (const { ordinals, attempt, leased_at } of bundles) {
    for (const ordinal of parseRanges(ordinals)) {
      if (!leases.has(ordinal)) leases.set(ordinal, []);
      leases.get(ordinal).push({ attempt, leased_at });
    }
  }
  const accepted = new Map(results.map((result) => [result.ordinal, result.finished_at]));
  let longest = 0;
  for (const [ordinal, list] of leases) {
    list.sort((a, b) => a.attempt - b.attempt);
    for (const [i, { leased_at }] of list.entries()) {
      const over = Math.min(list[i + 1]?.leased_at ?? Infinity, accepted.get(ordinal) ?? end);
      longest = Math.max(longest, over - leased_at);
    }
  }
  return round(longest / 1000);
}

/** `0-255,300` → the numbers. */
function parseRanges(text) {
  return text.split(',').flatMap((range) => {
    if (range === '') return [];
    const [first, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

function round(value) {
  return Math.round(value * 10) / 10;
}
