/**
 * Packing a real tree, against `tar … | gzip` on the same files: on one core with one worker, and on all cores with two.
 * The tree is what npm has installed here. The time of HXO counts from the submission to the signed certificate.
 */
import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, lstatSync, mkdirSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { HxoClient } from '../../dist/apps/cli/src/client.js';
import { ServerProcess } from '../../dist/apps/cli/src/server-process.js';
import { cpuSecondsOf, memoryOf, processTree } from './process-tree.mjs';

const rounds = 3;
const files_min = 5_000;
const bytes_min = 200_000_000;
const poll_ms = 100;
const sample_ms = 250;
const megabyte = 1_000_000;
const installed = fileURLToPath(new URL('../../node_modules', import.meta.url));
const server_main = fileURLToPath(new URL('../../dist/apps/api/src/main.js', import.meta.url));
/** Pins a command to the first core, where the system can. */
const pinned = spawnSync('taskset', ['-c', '0', 'true']).status === 0 ? ['taskset', '-c', '0'] : [];

/** What HXO may take, as a multiple of the time of tar and gzip. */
const settings = [
  { run: 'one core', workers: 1, pin: pinned, goal: 1.5 },
  { run: 'two workers', workers: 2, pin: [], goal: 0.9 },
];

/** Runs it. Returns the figures of each run and the ratios of their medians, `met` telling whether the goals are. */
export async function pack() {
  const folder = await mkdtemp(join(tmpdir(), 'hxo-bench-'));
  try {
    const workspace = join(folder, 'workspace');
    const tree = copyTree(workspace);
    await tarAndGzip(folder, workspace, []); // Whoever comes first must not pay for reading the disk.
    const runs = [];
    for (let round = 1; round <= rounds; round++) {
      for (const { run, workers, pin } of settings) {
        const tar = await tarAndGzip(folder, workspace, pin);
        runs.push({ round, run, who: 'tar | gzip', ...tar });
        const home = join(folder, `home-${round}-${workers}`);
        runs.push({
          round,
          run,
          who: 'hxo',
          ...(await packWithHxo({ home, folder, workspace, workers, pin })),
        });
        await rm(home, { recursive: true });
      }
    }
    const ratios = settings.map(({ run, goal }) => ratioOf(runs, run, goal));
    return {
      tables: { tree: [tree], runs, 'medians, against tar | gzip': ratios },
      met: ratios.every(({ met }) => met),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Copies installed packages, in the order of their names, until there are enough files and bytes of them. */
function copyTree(workspace) {
  let files = 0;
  let bytes = 0;
  for (const name of readdirSync(installed).sort()) {
    if (files >= files_min && bytes >= bytes_min) break;
    for (const path of regularFiles(name)) {
      mkdirSync(dirname(join(workspace, path)), { recursive: true });
      copyFileSync(join(installed, path), join(workspace, path));
      files++;
      bytes += lstatSync(join(workspace, path)).size;
    }
  }
  if (files < files_min || bytes < bytes_min)
    throw new Error(`Only ${files} files, ${bytes} bytes are installed.`);
  return { files, mb: round(bytes / megabyte) };
}

/** Files that HXO would read: no links, and no files that it never touches. */
function regularFiles(path) {
  const stat = lstatSync(join(installed, path));
  if (stat.isFile()) return [path];
  if (!stat.isDirectory()) return [];
  return readdirSync(join(installed, path))
    .filter((name) => name !== '.git' && !name.startsWith('.env'))
    .flatMap((name) => regularFiles(join(path, name)));
}

async function tarAndGzip(folder, workspace, pin) {
  const out = join(folder, 'tar.gz');
  const [command, ...args] = [...pin, 'sh', '-c', 'tar -C "$0" -cf - . | gzip -6 > "$1"', workspace, out];
  const begun = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const watched = watch(child.pid);
  const code = await new Promise((resolve) => child.once('exit', resolve));
  const seconds = (performance.now() - begun) / 1000;
  if (code !== 0) throw new Error(`tar | gzip ended ${code}.`);
  const packed_mb = round(lstatSync(out).size / megabyte);
  return { seconds: round(seconds), ...watched.stop(), packed_mb };
}

async function packWithHxo({ home, folder, workspace, workers, pin }) {
  const server = new ServerProcess(server_main, folder, {
    HXO_PORT: '0',
    HXO_HOME: home,
    HXO_WORKSPACE: workspace,
    HXO_LOG_FILE: join(home, 'app.log'),
    HXO_WORKER_CONCURRENCY: String(workers),
  });
  try {
    const client = new HxoClient({ url: await server.listening(), authorization: 'Admiral' });
    for (const pid of pin.length > 0 ? processTree(server.pid) : []) {
      spawnSync('taskset', ['--all-tasks', '--pid', '--cpu-list', '0', String(pid)]);
    }
    const watched = watch(server.pid);
    const begun = performance.now();
    const stages = [{ id: 'pack', kind: 'deploy.pack', config: { gitignore: false } }];
    const { plan_id } = await client.createAndSubmit(JSON.stringify({ name: 'bench', stages }));
    const phases = {};
    let status;
    for (let last = begun; status === undefined || status.finished_at === null;) {
      status = await client.status(plan_id);
      const now = performance.now();
      phases[status.phase] = (phases[status.phase] ?? 0) + (now - last) / 1000;
      last = now;
      if (status.finished_at === null) await sleep(poll_ms);
    }
    const seconds = (performance.now() - begun) / 1000;
    if (!status.truth_certified) throw new Error(`The plan ended ${status.phase}.\n${server.logTail()}`);
    const peak = watched.stop();
    await server.stop();
    return { seconds: round(seconds), ...peak, shards: status.total_shards, phases };
  } finally {
    server.kill();
  }
}

/** Peak memory and processor time of a process and all that it started, from now until it is told to stop. */
function watch(pid) {
  const cpuSeconds = () => processTree(pid).reduce((sum, each) => sum + cpuSecondsOf(each), 0);
  const before = cpuSeconds();
  let peak = 0;
  let cpu = before;
  const sample = () => {
    const now = processTree(pid).reduce((sum, each) => sum + memoryOf(each).pss, 0);
    peak = Math.max(peak, now);
    cpu = Math.max(cpu, cpuSeconds());
  };
  sample();
  const timer = setInterval(sample, sample_ms);
  return {
    stop: () => {
      clearInterval(timer);
      sample();
      return { cpu_s: round(cpu - before), peak_mb: round(peak / megabyte) };
    },
  };
}

function ratioOf(runs, run, goal) {
  const median = (who, column) => {
    const values = runs.filter((each) => each.run === run && each.who === who).map((each) => each[column]);
    return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
  };
  const ratio = (column) => Math.round((median('hxo', column) / median('tar | gzip', column)) * 100) / 100;
  const times_tar = ratio('seconds');
  return {
    run,
    tar_s: median('tar | gzip', 'seconds'),
    hxo_s: median('hxo', 'seconds'),
    times_tar,
    // Processor time hardly depends on what else the machine is doing.
    times_tar_cpu: ratio('cpu_s'),
    goal,
    met: times_tar <= goal,
  };
}

function round(value) {
  return Math.round(value * 10) / 10;
}
