import { join } from 'node:path';
import type { Environment } from '#settings';
import { RedisProcess } from '../../../apps/cli/src/redis-process.js';
import { ServerProcess } from '../../../apps/cli/src/server-process.js';

const worker_main = join(process.cwd(), 'dist/apps/worker/src/main.js');

/** A Redis and worker processes that outlive the API of a system. */
export class Fleet {
  readonly workers: ServerProcess[] = [];

  private constructor(
    private readonly folder: string,
    readonly redis: RedisProcess,
  ) {}

  static async start(folder: string): Promise<Fleet> {
    return new Fleet(folder, await RedisProcess.start(folder));
  }

  /** Starts a worker and waits until it takes bundles. Returns its process, which leads a process group. */
  async addWorker(variables: Environment): Promise<ServerProcess> {
    const worker = new ServerProcess(worker_main, this.folder, {
      ...variables,
      HXO_REDIS_URL: this.redis.url,
      HXO_WORKER_PORT: '0',
      HXO_LOG_FILE: '',
    });
    this.workers.push(worker);
    await worker.listening();
    return worker;
  }

  async dispose(): Promise<void> {
    for (const worker of this.workers) worker.kill();
    await this.redis.kill();
  }
}
