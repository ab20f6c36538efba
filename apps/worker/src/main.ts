/** A worker process: takes bundles from Redis, runs them in threads and processes, reports back. It keeps nothing. */
import { randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { hostname } from 'node:os';
import { hxo_version } from '#hxo';
import { findExecutorModules, loadExecutors } from '#executors';
import type { Settings } from '#settings';
import { BundleWorker } from '#adapters/bullmq';
import { workspaceFingerprint } from '#adapters/files';
import type { Log } from '#adapters/pino';
import { createPool } from '../../pool.js';
import { listen, start, stopOnSignal } from '../../start.js';

async function main(settings: Settings, log: Log): Promise<void> {
  if (settings.redis === null) {
    throw new Error(
      'A worker takes its work from Redis: set HXO_REDIS_URL. Without Redis the API runs shards by itself.',
    );
  }
  const extra_executors = await findExecutorModules(settings.executors, process.cwd());
  const executors = await offered(settings, extra_executors);
  const pool = createPool(settings, extra_executors, log);
  // Containers may share a host's name, and the process id 1.
  const id = `${hostname()}-${randomBytes(2).toString('hex')}-${process.pid}`;
  const worker = new BundleWorker({
    redis_url: settings.redis.url,
    bundle_key: settings.redis.bundle_key,
    card: {
      id,
      concurrency: settings.worker_concurrency,
      lanes: settings.worker_lanes,
      executors,
      hxo_version,
      node_version: process.versions.node,
    },
    workspace: () => workspaceFingerprint({ root: settings.workspace, home: settings.home }),
    pool,
    log: (message) => log.warn(message),
  });
  const { server: health, url } = await serveHealth(worker, settings);
  stopOnSignal(log, async (signal) => {
    log.info(`${signal}: no new bundle is taken; those that run get ${settings.drain_ms} ms.`);
    await worker.stop(settings.drain_ms);
    health.close();
    log.info('The worker has stopped.');
  });
  log.info(`HXO worker ${id} answers health checks on ${url}, and takes bundles once Redis is there.`);
  await worker.start();
  log.info(`HXO worker ${id} is listening for bundles of ${Object.keys(executors).join(', ')}`, {
    worker: id,
    url,
    executors,
  });
}

/** Executor name → version of what this worker offers. Throws when HXO_WORKER_EXECUTORS names one that it does not have. */
async function offered(
  settings: Settings,
  extra_executors: readonly string[],
): Promise<Record<string, string>> {
  const all = new Map((await loadExecutors(extra_executors)).map(({ name, version }) => [name, version]));
  const names = settings.worker_executors.length > 0 ? settings.worker_executors : [...all.keys()];
  const unknown = names.find((name) => !all.has(name));
  if (unknown !== undefined) {
    throw new Error(
      `HXO_WORKER_EXECUTORS: this worker has no executor ${unknown}. It has ${[...all.keys()].join(', ')}.`,
    );
  }
  return Object.fromEntries(names.map((name) => [name, all.get(name)!]));
}

/** Health and metrics (Prometheus text format 0.0.4) for whoever watches over the worker. */
async function serveHealth(
  worker: BundleWorker,
  settings: Settings,
): Promise<{ server: Server; url: string }> {
  const server = createServer((request, response) => {
    const answer = (status: number, text: string): void => {
      response.writeHead(status, { 'content-type': 'text/plain; version=0.0.4' }).end(`${text}\n`);
    };
    if (request.url === '/health/live') answer(200, 'live');
    else if (request.url === '/health/ready') {
      answer(worker.connected() ? 200 : 503, worker.connected() ? 'ready' : 'Redis cannot be used');
    } else if (request.url === '/metrics') {
      answer(200, `# TYPE hxo_worker_bundles gauge\nhxo_worker_bundles ${worker.load()}`);
    } else answer(404, 'Here are /health/live, /health/ready and /metrics.');
  });
  const { worker_port, host } = settings;
  return { server, url: await listen(server, { variable: 'HXO_WORKER_PORT', port: worker_port, host }) };
}

await start('worker', main);
