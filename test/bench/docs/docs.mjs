/**
 * Documentation indexed by HXO embedded, with one worker and with two, against MiniSearch alone in one process that
 * extracts the same text. Each run begins afresh: a home of its own, or a process of its own.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { globby } from 'globby';
import { HxoClient } from '../../../dist/apps/cli/src/client.js';
import { ServerProcess } from '../../../dist/apps/cli/src/server-process.js';

const rounds = 3;
/** The Markdown of node_modules stands in the tree so many times, as versions of one manual. */
const copies = 4;
const pages_min = 2_000;
const server_main = fileURLToPath(new URL('../../../dist/apps/api/src/main.js', import.meta.url));
const alone_main = fileURLToPath(new URL('./minisearch-alone.mjs', import.meta.url));

/** Times that of MiniSearch alone, at most. */
const goal_one_worker = 1.5;

/** Runs it. Returns { tables, met }. */
export async function docs() {
  const folder = await mkdtemp(join(tmpdir(), 'hxo-bench-'));
  try {
    const pages = await copyPages(join(folder, 'workspace', 'docs'));
    const runs = [];
    for (let round = 1; round <= rounds; round++) {
      runs.push({ round, peer: 'minisearch', pages, ...alone(folder) });
      runs.push({ round, peer: 'hxo, 1 worker', pages, ...(await indexed(folder, `1-${round}`, 1)) });
      runs.push({ round, peer: 'hxo, 2 workers', pages, ...(await indexed(folder, `2-${round}`, 2)) });
    }
    return { tables: { runs, medians: medians(runs) }, met: medians(runs).every(({ met }) => met) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function copyPages(root) {
  const paths = (await globby('**/*.md', { cwd: 'node_modules', gitignore: false })).sort();
  if (paths.length * copies < pages_min)
    throw new Error(`There are only ${paths.length} pages in node_modules; ${pages_min} are wanted.`);
  for (let version = 1; version <= copies; version++) {
    for (const path of paths) {
      const target = join(root, `v${version}`, path);
      mkdirSync(dirname(target), { recursive: true });
      copyFileSync(join('node_modules', path), target);
    }
  }
  return paths.length * copies;
}

function alone(folder) {
  const output = execFileSync(process.execPath, [
    alone_main,
    join(folder, 'workspace', 'docs'),
    join(folder, 'index.json'),
  ]);
  return JSON.parse(output.toString());
}

/** From the plan's submission to its certificate, on a server that has just started. */
async function indexed(folder, name, workers) {
  const home = join(folder, `home-${name}`);
  const server = new ServerProcess(server_main, folder, {
    HXO_PORT: '0',
    HXO_HOME: home,
    HXO_WORKSPACE: join(folder, 'workspace'),
    HXO_WORKER_CONCURRENCY: String(workers),
    HXO_SHARD_TIMEOUT_MS: '120000',
  });
  try {
    const client = new HxoClient({ url: await server.listening(), authorization: 'Admiral' });
    const begun = performance.now();
    const plan = {
      name: 'bench',
      stages: [{ id: 'docs', kind: 'docs.index', config: { gitignore: false } }],
    };
    const { plan_id } = await client.createAndSubmit(JSON.stringify(plan));
    let status;
    do {
      await sleep(20);
      status = await client.status(plan_id);
    } while (status.finished_at === null);
    const seconds = (performance.now() - begun) / 1000;
    if (status.phase !== 'succeeded') throw new Error(`The plan ended ${status.phase}.\n${server.logTail()}`);
    const [output] = (await client.report(plan_id)).outputs;
    const index = output.artifacts.find((artifact) => artifact.name === 'index');
    await server.stop();
    return { seconds: round2(seconds), index_mb: round2(index.bytes / 1e6), shards: status.total_shards };
  } finally {
    server.kill();
    await rm(home, { recursive: true, force: true });
  }
}

function medians(runs) {
  const of = (peer) =>
    runs
      .filter((run) => run.peer === peer)
      .map(({ seconds }) => seconds)
      .sort((a, b) => a - b)[Math.floor(rounds / 2)];
  const [base, one, two] = ['minisearch', 'hxo, 1 worker', 'hxo, 2 workers'].map(of);
  return [
    { peer: 'minisearch', seconds: base, times_minisearch: 1, goal: '', met: true },
    {
      peer: 'hxo, 1 worker',
      seconds: one,
      times_minisearch: round2(one / base),
      goal: `<= ${goal_one_worker}`,
      met: one <= goal_one_worker * base,
    },
    {
      peer: 'hxo, 2 workers',
      seconds: two,
      times_minisearch: round2(two / base),
      goal: 'less than 1 worker',
      met: two < one,
    },
  ];
}

function round2(value) {
  return Math.round(value * 100) / 100;
}
