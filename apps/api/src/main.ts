/** The API process: settings, then the store, then the engine, then HTTP; and the same backwards at the end. */
import type { Server } from 'node:http';
import { hostname } from 'node:os';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { buildCatalogue, Engine, Hxo, partitioners } from '#hxo';
import { findExecutorModules, loadExecutors, loadPartitioners } from '#executors';
import { GenesisBus } from '#genesis';
import { hxoFiles, workspaceOf, type Settings } from '#settings';
import { ThreadBackground } from '#adapters/background';
import { createArtifactStore, createWorkspace, workspaceFingerprint } from '#adapters/files';
import { BullTransport } from '#adapters/bullmq';
import { createTargets } from '#adapters/sql';
import type { Log } from '#adapters/pino';
import { SqliteCheckpointStore } from '#adapters/typeorm';
import { cachePlace, openCache } from '../../open-cache.js';
import { createPool } from '../../pool.js';
import { listen, start, stopOnSignal } from '../../start.js';
import { AppModule } from './app.module.js';
import type { BackgroundOptions } from './background/options.js';
import { Connections } from './connections.js';
import { configureHttp } from './http-server.js';
import { PlanLog } from './plan-log.js';

/** A caller of the API waits so long for a cache that is away. */
const cache_wait_ms = 2_000;
/** How often the store's log is written back. */
const checkpoint_every_ms = 250;
/** Exit code: the store can no longer be trusted to keep what it acknowledges. */
const exit_store_failed = 70;

async function main(settings: Settings, log: Log): Promise<void> {
  const extra_executors = await findExecutorModules(settings.executors, process.cwd());
  const executors = await loadExecutors(extra_executors);
  const catalogue = buildCatalogue(
    [...partitioners.values(), ...(await loadPartitioners(extra_executors))],
    executors,
  );

  const store = await SqliteCheckpointStore.open(settings.db_path, (error) => {
    log.error(
      'The checkpoint store failed to make a commit durable. HXO ends, and recovers at its next start.',
      error,
    );
    process.exit(exit_store_failed);
  });
  const artifacts = createArtifactStore(settings.artifacts_dir);
  await artifacts.sweep(Date.now());
  const cache = openCache(cachePlace(settings), cache_wait_ms);
  // What has expired only takes room: nothing waits for it to be gone.
  void cache.sweep();
  const work = {
    artifacts_dir: settings.artifacts_dir,
    workspace: workspaceOf(settings),
    targets: { addresses: settings.targets, forbidden: hxoFiles(settings) },
  };
  const background = new ThreadBackground(new URL('./background/', import.meta.url), {
    ...work,
    extra_executors,
    db_path: settings.db_path,
  } satisfies BackgroundOptions);
  background.start();
  setInterval(() => void background.checkpointStore(), checkpoint_every_ms).unref();
  const transport =
    settings.redis === null
      ? createPool(settings, extra_executors, log)
      : new BullTransport({
          redis_url: settings.redis.url,
          owner: `${hostname()}:${settings.db_path}`,
          bundle_key: settings.redis.bundle_key,
          workspace: () => workspaceFingerprint({ root: settings.workspace, home: settings.home }),
          log: (message) => log.warn(message),
        });

  const partition_context = {
    workspace: createWorkspace(work.workspace),
    targets: createTargets(work.targets),
  };
  const ports = { store, artifacts, cache, background, transport, catalogue, partition_context, log };
  const app = await NestFactory.create<NestExpressApplication>(AppModule.register(settings, ports), {
    bodyParser: false,
    abortOnError: false,
    logger: log,
  });
  configureHttp(app, settings);
  const engine = app.get(Engine);
  const plan_log = new PlanLog(app.get(Hxo), log);
  await plan_log.listen(app.get(GenesisBus, { strict: false }));
  await engine.start(settings.enabled);
  await app.init();
  const server: Server = app.getHttpServer();
  const connections = new Connections(server);
  const url = await listen(server, { variable: 'HXO_PORT', port: settings.port, host: settings.host });
  stopOnSignal(log, async (signal) => {
    log.info(`${signal}: no new work is begun; what runs gets ${settings.drain_ms} ms.`);
    const begun = performance.now();
    await engine.drain(settings.drain_ms);
    plan_log.close();
    const cut_off = await connections.end(Math.max(0, settings.drain_ms - (performance.now() - begun)));
    if (cut_off.length > 0)
      log.warn(`HTTP requests cut off: ${cut_off.length}: ${cut_off.slice(0, 10).join(', ')}.`);
    await app.close();
    await background.close();
    cache.close();
    await store.close();
    await engine.close();
    log.info('HXO has stopped. Unfinished plans go on at the next start.');
  });
  log.info(`HXO is listening on ${url}`, { url, home: settings.home, workspace: settings.workspace });
}

await start('server', main);
