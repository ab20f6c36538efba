/**
 * 100,000 small files packed: the memory of the whole process tree, and how fast status answers meanwhile. One run with
 * the default chunk size, one with chunks so small that there are about 5,000 shards.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { HxoClient } from '../../dist/apps/cli/src/client.js';
import { ServerProcess } from '../../dist/apps/cli/src/server-process.js';
import { memoryOf, processTree } from './process-tree.mjs';

const files = 100_000;
const files_per_folder = 250;
const sample_ms = 100;
const server_main = fileURLToPath(new URL('../../dist/apps/api/src/main.js', import.meta.url));
const megabyte = 1_000_000;

const runs = [
  { run: 'default chunks', config: {} },
  // 27.5 MB in all, and stable cuts leave chunks half full on average: about 5,000 shards.
  { run: 'small chunks', config: { chunk_size_mb: 0.011 } },
];

/** What must hold. */
const goals = { peak_mb: 700, status_p95_ms: 50 };

/** Runs it. Returns one row of figures for each run, `met` telling whether the goals are. */
export async function pack100k() {
  const folder = await mkdtemp(join(tmpdir(), 'hxo-bench-'));
  try {
    const workspace = join(folder, 'workspace');
    makeFiles(workspace);
    const rows = [];
    for (const [i, { run, config }] of runs.entries()) {
      const figures = await measure({ home: join(folder, `home-${i}`), folder, workspace, config });
      rows.push({
        run,
        ...figures,
        met: figures.peak_mb < goals.peak_mb && figures.status_p95_ms <= goals.status_p95_ms,
      });
    }
    return rows;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Files of 50 to 500 bytes whose content differs, the same at every call. */
function makeFiles(workspace) {
  for (let i = 0; i < files; i++) {
    const folder = join(workspace, `d${Math.floor(i / files_per_folder)}`);
    if (i % files_per_folder === 0) mkdirSync(folder, { recursive: true });
    const bytes = 50 + ((i * 7919) % 451);
    writeFileSync(join(folder, `f${i}.txt`), `file ${i} `.repeat(60).slice(0, bytes));
  }
}

async function measure({ home, folder, workspace, config }) {
  const server = new ServerProcess(server_main, folder, {
    HXO_PORT: '0',
    HXO_HOME: home,
    HXO_WORKSPACE: workspace,
    HXO_LOG_FILE: join(home, 'app.log'),
  });
  try {
    const client = new HxoClient({ url: await server.listening(), authorization: 'Admiral' });
    const begun = performance.now();
    const stages = [{ id: 'pack', kind: 'deploy.pack', config }];
    const { plan_id } = await client.createAndSubmit(JSON.stringify({ name: 'bench', stages }));
    const samples = await sampleUntilEnd(server.pid, client, plan_id);
    const seconds = (performance.now() - begun) / 1000;
    const { phase, total_shards } = await client.status(plan_id);
    if (phase !== 'succeeded') throw new Error(`The plan ended ${phase}.\n${server.logTail()}`);
    await server.stop();
    const latencies = samples.latencies.sort((a, b) => a - b);
    const at = (share) =>
      round(latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))]);
    return {
      shards: total_shards,
      seconds: round(seconds),
      peak_mb: round(samples.peak_pss / megabyte),
      peak_rss_mb: round(samples.peak_rss / megabyte),
      status_p50_ms: at(0.5),
      status_p95_ms: at(0.95),
      status_max_ms: at(1),
      samples: latencies.length,
      slowest: samples.slowest,
    };
  } finally {
    server.kill();
  }
}

/** Every 100 ms: the memory of the tree, and the time that a status takes. */
async function sampleUntilEnd(pid, client, plan_id) {
  const latencies = [];
  const slow = [];
  let peak_pss = 0;
  let peak_rss = 0;
  for (;;) {
    const memory = processTree(pid).map(memoryOf);
    peak_pss = Math.max(
      peak_pss,
      memory.reduce((sum, { pss }) => sum + pss, 0),
    );
    peak_rss = Math.max(
      peak_rss,
      memory.reduce((sum, { rss }) => sum + rss, 0),
    );
    const asked = performance.now();
    const status = await client.status(plan_id);
    const took = performance.now() - asked;
    latencies.push(took);
    slow.push({
      ms: round(took),
      phase: status.phase,
      stage: status.stages[0].phase,
      done: status.done_shards,
    });
    if (status.finished_at !== null) {
      const slowest = slow.sort((a, b) => b.ms - a.ms).slice(0, 5);
      return { latencies, peak_pss, peak_rss, slowest };
    }
    await sleep(sample_ms);
  }
}

function round(value) {
  return Math.round(value * 10) / 10;
}
