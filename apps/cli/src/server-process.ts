import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { childEnvironment, type Environment } from '#settings';

const start_max_ms = 30_000;
const stop_max_ms = 20_000;
const tail_lines_max = 30;

/** An HXO server as a child process. It and its workers are one process group, so that none outlives the owner's care. */
export class ServerProcess {
  /** Aborted when the server exits, whatever the reason. */
  readonly gone: AbortSignal;
  private readonly child: ChildProcessByStdio<null, Readable, Readable>;
  private readonly url: Promise<string>;
  private readonly tail: string[] = [];

  /** Starts a server by the given variables and none that this process inherited. */
  constructor(main: string, cwd: string, variables: Environment) {
    this.child = spawn(process.execPath, [main], {
      cwd,
      env: childEnvironment(variables),
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const gone = new AbortController();
    this.gone = gone.signal;
    this.child.once('error', (error) => gone.abort(error));
    this.child.once('exit', (code, signal) => {
      gone.abort(new Error(`The server exited (${signal ?? `code ${code}`}).`));
    });
    this.url = new Promise((resolve) => {
      for (const stream of [this.child.stdout, this.child.stderr]) {
        createInterface({ input: stream }).on('line', (line) => {
          this.tail.push(line);
          if (this.tail.length > tail_lines_max) this.tail.shift();
          const url = urlOf(line);
          if (url !== null) resolve(url);
        });
      }
    });
  }

  /** The URL that the server logs once it listens. Throws when it exits or stays silent instead. */
  async listening(): Promise<string> {
    this.gone.throwIfAborted();
    const signal = this.goneWithin(start_max_ms);
    const ended = once(signal, 'abort').then(() => {
      throw this.gone.aborted
        ? (this.gone.reason as Error)
        : new Error(`The server did not listen within ${start_max_ms / 1000} s.`);
    });
    return await Promise.race([this.url, ended]);
  }

  /**
   * Aborts when the server has gone, or after so long. AbortSignal.any would do, but Node 20 lets a timeout that is only part of
   * one be collected as garbage.
   */
  goneWithin(limit_ms: number): AbortSignal {
    const limit = new AbortController();
    const late = (): void =>
      limit.abort(new DOMException(`It took more than ${limit_ms} ms.`, 'TimeoutError'));
    const timer = setTimeout(late, limit_ms).unref();
    const gone = (): void => {
      clearTimeout(timer);
      limit.abort(this.gone.reason);
    };
    if (this.gone.aborted) gone();
    else this.gone.addEventListener('abort', gone, { once: true });
    return limit.signal;
  }

  /** The server's process id, which is also its process group's. Throws when it could not be started. */
  get pid(): number {
    if (this.child.pid === undefined) throw new Error('The server could not be started.');
    return this.child.pid;
  }

  /** The last lines that the server wrote. */
  logTail(): string {
    return this.tail.join('\n');
  }

  /** SIGTERM, and waits for a clean exit. Throws when the server exits otherwise or not at all; it is gone then too. */
  async stop(): Promise<void> {
    if (!this.gone.aborted) {
      this.child.kill('SIGTERM');
      const exited = once(this.gone, 'abort').then(() => true);
      const drained = await Promise.race([exited, sleep(stop_max_ms, false, { ref: false })]);
      this.kill();
      if (!drained) throw new Error(`The server did not stop within ${stop_max_ms / 1000} s of SIGTERM.`);
    }
    if (this.child.exitCode !== 0) throw this.gone.reason;
  }

  /** SIGKILL to the server and whatever it started. */
  kill(): void {
    if (this.child.pid === undefined) return;
    try {
      process.kill(-this.child.pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

/** The URL in a log line that says the server is listening; null for any other line. */
function urlOf(line: string): string | null {
  try {
    const entry = JSON.parse(line) as { msg?: unknown; url?: unknown } | null;
    const listens = typeof entry?.msg === 'string' && entry.msg.includes('listening');
    return listens && typeof entry.url === 'string' ? entry.url : null;
  } catch {
    return null;
  }
}
