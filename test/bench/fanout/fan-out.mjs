/**
 * Fan-out: the same no-op shards through HXO embedded, HXO federated (one API, one worker process) and plain BullMQ (one
 * process that adds jobs and records results, one worker process), in turn, on this machine. Each with a Redis of its own.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { HxoClient } from '../../../dist/apps/cli/src/client.js';
import { RedisProcess } from '../../../dist/apps/cli/src/redis-process.js';
import { ServerProcess } from '../../../dist/apps/cli/src/server-process.js';

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const api_main = here('../../../dist/apps/api/src/main.js');
const worker_main = here('../../../dist/apps/worker/src/main.js');
const { scripts } = JSON.parse(readFileSync(here('../../../package.json'), 'utf8'));
/** Node's options with which a server is started as the README says. */
const nodeOptions = (script) => /^exec node (.*?) ?\S+\.js$/.exec(scripts[script])[1];
const sample_ms = 20;
const warm_up_shards = 50_000;
const warm_up_shards_waiting = 1_000;
const megabyte = 1_000_000;
const clock_ticks_per_s = 100;

/**
 * @param shards of each run
 * @param peers of `embedded`, `federated`, `bullmq`, `flow`, in the order of each round
 * @param asks has BullMQ asked how far it is, as HXO always is
 * @returns one row of figures for each run, in the order in which they ran
 */
export async function fanOut({
  shards,
  peers,
  rounds,
  workers = 1,
  concurrency = 2,
  kind = 'noop',
  asks = false,
}) {
  const rows = [];
  for (let round = 1; round <= rounds; round++) {
    for (const peer of peers) {
      const folder = mkdtempSync(join(tmpdir(), 'hxo-bench-'));
      try {
        const run = peer === 'bullmq' || peer === 'flow' ? runPlain : runHxo;
        const figures = await run({ peer, shards, folder, workers, concurrency, kind, asks });
        const row = { peer, shards, round, ...figures, shards_per_s: Math.round(shards / figures.seconds) };
        rows.push(row);
        process.stderr.write(`${peer} ${shards}: ${row.shards_per_s} shards/s\n`);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    }
  }
  return rows;
}

async function runHxo({ peer, shards, folder, workers, concurrency, kind }) {
  const federated = peer === 'federated';
  const redis = federated ? await RedisProcess.start(folder) : null;
  const loop_file = join(folder, 'loop.json');
  const variables = {
    HXO_HOME: join(folder, 'home'),
    HXO_WORKSPACE: folder,
    HXO_PORT: '0',
    HXO_WORKER_PORT: '0',
    HXO_LOG_FILE: '',
    HXO_EXECUTORS: here('noop.mjs'),
    HXO_WORKER_CONCURRENCY: String(concurrency),
    ...(redis === null ? {} : { HXO_REDIS_URL: redis.url }),
  };
  const api = new ServerProcess(api_main, folder, {
    ...variables,
    NODE_OPTIONS: `${nodeOptions('start')} --import ${here('loop-delay.mjs')}`,
    HXO_BENCH_LOOP_FILE: loop_file,
  });
  const fleet = [];
  try {
    const client = new HxoClient({ url: await api.listening(), authorization: 'Admiral' });
    for (let i = 0; federated && i < workers; i++) {
      const worker = new ServerProcess(worker_main, folder, {
        ...variables,
        NODE_OPTIONS: nodeOptions('start:worker'),
      });
      fleet.push(worker);
      await worker.listening();
    }
    if (federated) await sleep(1_500);
    const submit = async (count) => {
      const config = { shards: count };
      const stages = [{ id: 'fan', kind: `bench.${kind}`, partitioner: 'by_count', config }];
      const constraints = { max_shards: count };
      return client.createAndSubmit(JSON.stringify({ name: 'bench', stages, constraints }));
    };
    // A server that has just started has its code still to compile.
    const warm_up = kind === 'noop' ? warm_up_shards : warm_up_shards_waiting;
    await untilEnd(client, (await submit(warm_up)).plan_id);
    const usage = new Usage({
      api: api.pid,
      ...(fleet[0] && { worker: fleet[0].pid }),
      ...(redis && { redis: redis.pid }),
    });
    const begun = performance.now();
    const { plan_id } = await submit(shards);
    const { latencies, phases } = await sampleUntilEnd(client, plan_id);
    const seconds = (performance.now() - begun) / 1000;
    const report = await client.report(plan_id);
    if (report.phase !== 'succeeded' || report.done_shards !== shards || !report.truth_certified)
      throw new Error(`The plan ended ${report.phase}.\n${api.logTail()}`);
    const redis_peak_mb = redis === null ? null : await redisPeak(redis.url);
    const used = usage.figures();
    for (const worker of fleet) await worker.stop();
    await api.stop();
    return {
      seconds: round2(seconds),
      ...used,
      redis_peak_mb,
      db_mb: round(statSync(join(folder, 'home', 'checkpoints.db')).size / megabyte),
      status_p95_ms: percentile(latencies, 0.95),
      status: spread(latencies),
      loop_p99_ms: JSON.parse(readFileSync(loop_file, 'utf8')).p99,
      phases,
    };
  } finally {
    for (const server of [api, ...fleet]) server.kill();
    await redis?.kill();
  }
}

async function untilEnd(client, plan_id) {
  while ((await client.status(plan_id)).finished_at === null) await sleep(sample_ms);
}

/** Status every 20 ms until the plan ends: its latencies, and the seconds spent in each phase. */
async function sampleUntilEnd(client, plan_id) {
  const latencies = [];
  const phases = {};
  let last = performance.now();
  for (;;) {
    const asked = performance.now();
    const status = await client.status(plan_id);
    const now = performance.now();
    latencies.push(now - asked);
    phases[status.phase] = round2((phases[status.phase] ?? 0) + (now - last) / 1000);
    last = now;
    if (status.finished_at !== null) return { latencies, phases };
    await sleep(sample_ms);
  }
}

async function runPlain({ peer, shards, folder, asks }) {
  const redis = await RedisProcess.start(folder);
  const children = [];
  try {
    const start = (script, args) => {
      const child = spawn(process.execPath, [here(script), ...args], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      children.push(child);
      return child;
    };
    const worker = start('plain-bullmq-worker.mjs', [redis.url]);
    await once(worker.stdout, 'data');
    const form = peer === 'flow' ? 'flow' : 'jobs';
    const api = start('plain-bullmq.mjs', [
      redis.url,
      join(folder, 'plain.db'),
      String(shards),
      form,
      String(warm_up_shards),
    ]);
    const usage = new Usage({ api: api.pid, worker: worker.pid });
    const asking = asks ? askWhile(redis.url) : null;
    const [line] = await Promise.race([
      once(createInterface({ input: api.stdout }), 'line'),
      once(api, 'exit').then(() => {
        throw new Error('The plain BullMQ process ended without a result.');
      }),
    ]);
    const used = usage.figures();
    const redis_peak_mb = await redisPeak(redis.url);
    const { seconds } = JSON.parse(line);
    const latencies = asking === null ? {} : { status: spread(await asking()) };
    return { seconds: round2(seconds), ...used, redis_peak_mb, ...latencies };
  } finally {
    for (const child of children) child.kill('SIGKILL');
    await redis.kill();
  }
}

/** Asks BullMQ for its counts of jobs every 20 ms, until told to stop: then it returns how long each answer took. */
function askWhile(url) {
  const queue = new Queue('plain', { connection: { url, maxRetriesPerRequest: null } });
  const latencies = [];
  let going = true;
  const asked = (async () => {
    while (going) {
      const begun = performance.now();
      await queue.getJobCounts();
      latencies.push(performance.now() - begun);
      await sleep(sample_ms);
    }
    await queue.close();
    return latencies;
  })();
  return () => {
    going = false;
    return asked;
  };
}

/** What processes have used since it was made: CPU seconds, and their peak resident memory in MB, as the kernel keeps it. */
class Usage {
  constructor(pids) {
    this.pids = pids;
    this.before = Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, cpuOf(pid)]));
  }

  figures() {
    const figures = {};
    for (const [name, pid] of Object.entries(this.pids)) {
      figures[`${name}_mb`] = peakOf(pid);
      figures[`${name}_cpu_s`] = round2(cpuOf(pid) - this.before[name]);
    }
    return figures;
  }
}

function peakOf(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return round((Number(/VmHWM:\s+(\d+) kB/.exec(status)[1]) * 1024) / megabyte);
}

/** CPU seconds that a process has used, its threads included. */
function cpuOf(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / clock_ticks_per_s;
}

async function redisPeak(url) {
  const redis = new Redis(url);
  try {
    const info = await redis.info('memory');
    return round(Number(/used_memory_peak:(\d+)/.exec(info)[1]) / megabyte);
  } finally {
    redis.disconnect();
  }
}

/** Of latencies in milliseconds. */
function spread(latencies) {
  const [p50_ms, p95_ms, max_ms] = [0.5, 0.95, 1].map((share) => percentile(latencies, share));
  return { answers: latencies.length, p50_ms, p95_ms, max_ms };
}

function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]);
}

function round(value) {
  return Math.round(value * 10) / 10;
}

function round2(value) {
  return Math.round(value * 100) / 100;
}
