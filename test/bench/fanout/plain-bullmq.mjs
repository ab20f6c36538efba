/**
 * The peer: BullMQ as its users run it, one job for each shard, results recorded in SQLite with every transaction synced.
 * Started as a child process by fan-out.mjs; its worker is another process (plain-bullmq-worker.mjs).
 *
 * Arguments: Redis URL, database file, shards, `jobs` or `flow`, shards to warm up with. Prints {"seconds"} when every result is durable.
 */
import Database from 'better-sqlite3';
import { FlowProducer, Queue, QueueEvents } from 'bullmq';
import { inputsOf } from './noop.mjs';

/** Jobs added at a time, and jobs in flight: beyond this BullMQ is no faster. */
const bulk = 1_000;
const window = 8_000;
/** Rows of one transaction. */
const rows_max = 1_000;

const [url, file, count, form, warm_up_count] = process.argv.slice(2);
const shards = Number(count);
const connection = { url, maxRetriesPerRequest: null };

const db = new Database(file);
db.pragma('journal_mode = WAL');
db.pragma('synchronous = FULL');
db.exec('CREATE TABLE result (shard INTEGER PRIMARY KEY, value TEXT NOT NULL)');
const insert = db.prepare('INSERT INTO result VALUES (?, ?) ON CONFLICT DO NOTHING');
const record = db.transaction((rows) => {
  for (const [shard, value] of rows) insert.run(shard, value);
});

// Completed events are how results come back; the stream must hold as many as may be in flight.
const queue = new Queue('plain', { connection, streams: { events: { maxLen: 10 * window } } });
const events = new QueueEvents('plain', { connection });
await events.waitUntilReady();

let rows = [];
let recorded = 0;
let wake = () => {};

function flush() {
  if (rows.length === 0) return;
  record(rows);
  recorded += rows.length;
  rows = [];
  wake();
}

events.on('completed', ({ jobId, returnvalue }) => {
  if (jobId === 'parent') return;
  rows.push([Number(jobId.slice(1)), JSON.stringify(returnvalue)]);
  if (rows.length === rows_max) flush();
});
setInterval(flush, 20).unref();

const options = { removeOnComplete: true, removeOnFail: true };
const job = (n) => ({ name: 'shard', data: inputsOf(n), opts: { ...options, jobId: `s${n}` } });

/** Resolves when so many results are recorded. */
async function untilRecorded(count) {
  while (recorded < count) await new Promise((resolve) => (wake = resolve));
}

/** Runs shards `from` up to `end` as one job each. */
async function runJobs(from, end) {
  for (let next = from; next < end;) {
    const jobs = Array.from({ length: Math.min(bulk, end - next) }, (_, i) => job(next + i));
    await queue.addBulk(jobs);
    next += jobs.length;
    await untilRecorded(next - window + bulk);
  }
  await untilRecorded(end);
}

/** The same as children of one parent. */
async function runFlow(from, end) {
  const children = Array.from({ length: end - from }, (_, i) => ({ ...job(from + i), queueName: 'plain' }));
  const flow = new FlowProducer({ connection });
  const opts = { ...options, jobId: 'parent' };
  await flow.add({ name: 'parent', queueName: 'plain', data: {}, opts, children });
  await flow.close();
  await untilRecorded(end);
}

// As in a server that has run for a while, the code is compiled before the clock starts.
const warm_up = Number(warm_up_count);
await runJobs(0, warm_up);
const begun = performance.now();
await (form === 'flow' ? runFlow : runJobs)(warm_up, warm_up + shards);
process.stdout.write(`${JSON.stringify({ seconds: (performance.now() - begun) / 1000 })}\n`);
// The figures of this process are read before it is killed.
