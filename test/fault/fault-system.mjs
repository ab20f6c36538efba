import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import { Redis } from 'ioredis';
import { HxoClient } from '../../dist/apps/cli/src/client.js';
import { RedisProcess } from '../../dist/apps/cli/src/redis-process.js';
import { ServerProcess } from '../../dist/apps/cli/src/server-process.js';
import { ledger_name } from './ledger-executor.mjs';
import { TcpProxy } from './tcp-proxy.mjs';

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const mains = {
  api: here('../../dist/apps/api/src/main.js'),
  worker: here('../../dist/apps/worker/src/main.js'),
  cli: here('../../dist/apps/cli/src/main.js'),
};
const submit_max_ms = 90_000;
const submit_again_ms = 250;

/** One API, one Redis and some workers in a folder of their own, all of which can be killed and started again. */
export class FaultSystem {
  folder = mkdtempSync(join(tmpdir(), 'hxo-fault-'));
  home = join(this.folder, 'home');
  db_path = join(this.home, 'checkpoints.db');
  ledger_path = join(this.folder, ledger_name);
  /** Role → its present process: `api`, `worker-0`, … */
  servers = new Map();
  /** Between each worker and Redis. */
  proxies = [];
  /** Servers that ended though nobody had killed them, in words. */
  unasked_exits = [];
  redis = null;
  #doomed = new WeakSet();
  #disposed = false;

  /** Starts everything. Whoever made the system disposes of it, also when this throws. */
  async start(workers) {
    writeFileSync(this.ledger_path, '');
    mkdirSync(join(this.folder, 'logs'));
    mkdirSync(join(this.folder, 'workspace'));
    this.redis = await RedisProcess.start(this.folder);
    for (let i = 0; i < workers; i++) this.proxies.push(await TcpProxy.start(this.redis.port));
    this.launch('api');
    await this.servers.get('api').listening();
    this.worker_roles = this.proxies.map((_, i) => `worker-${i}`);
    for (const role of this.worker_roles) this.launch(role);
    await Promise.all(this.worker_roles.map((role) => this.servers.get(role).listening()));
  }

  /** Starts the server of a role, without waiting for it. One that ends unasked is noted, and started again. */
  launch(role) {
    const worker = role === 'api' ? null : Number(role.slice('worker-'.length));
    const server = new ServerProcess(worker === null ? mains.api : mains.worker, this.folder, {
      HXO_HOME: this.home,
      HXO_WORKSPACE: join(this.folder, 'workspace'),
      HXO_PORT: '0',
      HXO_WORKER_PORT: '0',
      HXO_LOG_FILE: join(this.folder, 'logs', `${role}.log`),
      HXO_EXECUTORS: here('ledger-executor.mjs'),
      HXO_WORKER_EXECUTORS: worker === null ? '' : 'ledger',
      HXO_WORKER_CONCURRENCY: '1',
      HXO_REDIS_URL: worker === null ? this.redis.url : this.proxies[worker].url,
    });
    this.servers.set(role, server);
    server.gone.addEventListener('abort', () => {
      if (this.#disposed || this.#doomed.has(server)) return;
      this.unasked_exits.push(`${role} ended unasked: ${server.gone.reason.message}\n${server.logTail()}`);
      setTimeout(() => this.#disposed || this.launch(role), 1_000);
    });
  }

  /** SIGKILL to the server of a role and its pool, and at once a new one. Returns the process id that was killed. */
  async restart(role) {
    const server = this.servers.get(role);
    this.#doomed.add(server);
    server.kill();
    if (!server.gone.aborted) await new Promise((resolve) => (server.gone.onabort = resolve));
    this.launch(role);
    return server.pid;
  }

  /** A signal to the server of a role and its pool. */
  signal(role, signal) {
    const { pid } = this.servers.get(role);
    process.kill(-pid, signal);
    return pid;
  }

  /** Submits plan `number` of `shards` shards, and tries again while the API is away. Returns the plan's id. */
  async submit(number, shards) {
    const plan = {
      name: 'fault',
      stages: [{ id: 'work', kind: 'fault.ledger', partitioner: 'by_number', config: { shards } }],
      constraints: { max_shards: shards },
    };
    const end = performance.now() + submit_max_ms;
    for (;;) {
      try {
        const submitted = await (
          await this.client()
        ).createAndSubmit(JSON.stringify(plan), `fault-${number}`);
        return submitted.plan_id;
      } catch (error) {
        if (performance.now() > end) throw error;
        await sleep(submit_again_ms);
      }
    }
  }

  async client() {
    return new HxoClient({ url: await this.servers.get('api').listening(), authorization: 'Admiral' });
  }

  /** Speaks to Redis directly, past the proxies. */
  async withRedis(act) {
    const redis = new Redis(this.redis.url, { maxRetriesPerRequest: 2 });
    redis.on('error', () => {}); // What fails is told by the command.
    try {
      return await act(redis);
    } finally {
      redis.disconnect();
    }
  }

  /** Reads from the checkpoint store's file, as long as it takes and no longer. */
  rows(sql, ...parameters) {
    const db = new Database(this.db_path, { readonly: true, timeout: 30_000 });
    try {
      return db.prepare(sql).all(...parameters);
    } finally {
      db.close();
    }
  }

  /** SIGTERM to all, workers first. Returns who did not end cleanly, in words. */
  async stop() {
    const roles = [...this.worker_roles, 'api'];
    const complaints = [];
    for (const role of roles) {
      const server = this.servers.get(role);
      this.#doomed.add(server);
      await server.stop().catch((error) => complaints.push(`${role} after SIGTERM: ${error.message}`));
    }
    return complaints;
  }

  /** Has every row, leaf, root, certificate and artifact hashed and checked again. Returns what is wrong, or null. */
  verifyStore() {
    const key = join(this.home, 'keys/signing.pem.pub');
    const run = spawnSync(process.execPath, [mains.cli, 'verify', '--store', this.home, '--key', key], {
      cwd: this.folder,
      encoding: 'utf8',
    });
    return run.status === 0 ? null : `exit ${run.status}\n${run.stdout}${run.stderr}`;
  }

  /** Kills what is left and removes the folder, without waiting: it may be the last thing that this process does. */
  dispose() {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const server of this.servers.values()) server.kill();
    for (const proxy of this.proxies) proxy.close();
    void this.redis?.kill();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
