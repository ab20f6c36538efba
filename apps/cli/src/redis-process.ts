import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './free-port.js';

const start_max_ms = 10_000;

/** A redis-server of our own on a free loopback port: the demo's and the tests'. It writes into `folder`. */
export class RedisProcess {
  private child: ChildProcess | null = null;

  private constructor(
    private readonly folder: string,
    readonly port: number,
  ) {}

  /**
   * Finds redis-server, or installs Debian's package where that is possible, and starts it. Throws when there is none and
   * it cannot be installed, saying how to.
   */
  static async start(folder: string, note: (message: string) => void = () => {}): Promise<RedisProcess> {
    findRedis(note);
    const redis = new RedisProcess(folder, await freePort());
    await redis.launch();
    return redis;
  }

  /** The server's process id. Throws while it does not run. */
  get pid(): number {
    if (this.child?.pid === undefined) throw new Error('redis-server does not run.');
    return this.child.pid;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Starts the server, empty, on the port that it had before. */
  async launch(): Promise<void> {
    const options = ['--port', String(this.port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    this.child = spawn('redis-server', [...options, '--dir', this.folder], { stdio: 'ignore' });
    const end = performance.now() + start_max_ms;
    while (!(await answers(this.port))) {
      if (performance.now() > end) throw new Error(`redis-server did not answer on port ${this.port}.`);
      await sleep(20);
    }
  }

  /** SIGKILL: all that it held is gone. */
  async kill(): Promise<void> {
    const { child } = this;
    this.child = null;
    if (child === null || child.exitCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
}

function findRedis(note: (message: string) => void): void {
  if (hasRedis()) return;
  const root = process.getuid?.() === 0;
  if (root && spawnSync('apt-get', ['--version']).status === 0) {
    note('redis-server is not installed; installing it with apt-get …');
    spawnSync('apt-get', ['update', '-qq']);
    spawnSync('apt-get', ['install', '-y', '-qq', 'redis-server']);
  }
  if (!hasRedis()) {
    throw new Error(
      'redis-server is not installed. Install it (Debian: apt-get install redis-server; macOS: brew install redis).',
    );
  }
}

function hasRedis(): boolean {
  return spawnSync('redis-server', ['--version']).status === 0;
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
