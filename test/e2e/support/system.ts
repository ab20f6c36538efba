import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import type { EventView, Page, ReportView, StatusView } from '#hxo';
import { childEnvironment, type Environment } from '#settings';
import { HxoClient } from '../../../apps/cli/src/client.js';
import { ServerProcess } from '../../../apps/cli/src/server-process.js';
import { Fleet } from './fleet.js';

const server_main = join(process.cwd(), 'dist/apps/api/src/main.js');
const cli_main = join(process.cwd(), 'dist/apps/cli/src/main.js');

/** An answer of the API as it came. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Record<string, unknown>;
}

/** A running server, and ways to speak to it. */
export interface Server {
  readonly process: ServerProcess;
  readonly url: string;
  readonly client: HxoClient;
}

/** Jest's project decides: the same specs run embedded, and federated over a Redis and two workers. */
const mode = (globalThis as { readonly hxo_mode?: 'federated' }).hxo_mode ?? 'embedded';
const workers = 2;

/** A folder of its own with a workspace and a home, and real servers that run on them one after the other. */
export class System {
  readonly folder = mkdtempSync(join(tmpdir(), 'hxo-e2e-'));
  readonly workspace = join(this.folder, 'workspace');
  readonly home = join(this.folder, 'home');
  /** Every server that was started here; each leads a process group of that number. */
  readonly pids: number[] = [];
  private current: Server | undefined;
  /** The Redis and the workers of a federated system, once it has started. */
  fleet: Fleet | undefined;

  constructor(
    private readonly variables: Environment = {},
    private readonly options: { readonly mode?: 'embedded' | 'federated' } = {},
  ) {
    mkdirSync(this.workspace, { recursive: true });
  }

  get server(): Server {
    if (this.current === undefined) throw new Error('No server was started.');
    return this.current;
  }

  get db_path(): string {
    return join(this.home, 'checkpoints.db');
  }

  /** Public part of the key that the server made at its first start. */
  get key_path(): string {
    return join(this.home, 'keys/signing.pem.pub');
  }

  /** Starts a server without waiting for it. */
  launch(variables: Environment = {}): ServerProcess {
    const launched = new ServerProcess(server_main, this.folder, {
      HXO_PORT: '0',
      HXO_HOME: this.home,
      HXO_WORKSPACE: this.workspace,
      HXO_WORKER_CONCURRENCY: '2',
      ...(this.fleet && { HXO_REDIS_URL: this.fleet.redis.url }),
      ...this.variables,
      ...variables,
    });
    this.pids.push(launched.pid);
    return launched;
  }

  /** Starts a server and waits until it listens; before the first of a federated system, workers with the same variables. */
  async start(variables: Environment = {}): Promise<Server> {
    if ((this.options.mode ?? mode) === 'federated') await this.startFleet(variables);
    const launched = this.launch(variables);
    const url = await launched.listening().catch((error: unknown) => {
      launched.kill();
      throw new Error(`${String(error)}\n${launched.logTail()}`);
    });
    this.current = { process: launched, url, client: new HxoClient({ url, authorization: 'Admiral' }) };
    return this.current;
  }

  private async startFleet(variables: Environment): Promise<void> {
    if (this.fleet !== undefined) return;
    this.fleet = await Fleet.start(this.folder);
    for (let i = 0; i < workers; i++) await this.addWorker(variables);
  }

  /** Starts one more worker of a federated system. */
  async addWorker(variables: Environment = {}): Promise<ServerProcess> {
    const { home, workspace } = this;
    const own = { HXO_HOME: home, HXO_WORKSPACE: workspace, HXO_WORKER_CONCURRENCY: '1' };
    const worker = await this.fleet!.addWorker({ ...own, ...this.variables, ...variables });
    this.pids.push(worker.pid);
    return worker;
  }

  /** One request as the Admiral, or as `authorization` says; null sends no such header. */
  async ask(
    method: 'GET' | 'POST',
    path: string,
    options: { body?: unknown; authorization?: string | null; headers?: Record<string, string> } = {},
  ): Promise<Answer> {
    const { authorization = 'Admiral', body, headers } = options;
    const response = await fetch(this.server.url + path, {
      method,
      body: body === undefined ? undefined : JSON.stringify(body),
      headers: {
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...(authorization !== null && { authorization }),
        ...headers,
      },
    });
    const answer = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      body: answer === '' ? {} : (JSON.parse(answer) as Record<string, unknown>),
    };
  }

  /** Submits a plan of one stage, or of several, and returns its id. */
  async submit(stages: object | readonly object[], rest: object = {}): Promise<string> {
    const plan = { name: 'e2e', stages: [stages].flat(), ...rest };
    return (await this.server.client.createAndSubmit(JSON.stringify(plan))).plan_id;
  }

  /** Waits for a plan's end and returns its report. */
  async ended(plan_id: string, limit_ms = 60_000): Promise<ReportView> {
    await this.until(plan_id, (status) => status.finished_at !== null, limit_ms);
    return this.server.client.report(plan_id);
  }

  async run(stages: object | readonly object[], rest: object = {}): Promise<ReportView> {
    return this.ended(await this.submit(stages, rest));
  }

  /** Waits until a plan's status is as `holds` says. */
  async until(
    plan_id: string,
    holds: (status: StatusView) => boolean,
    limit_ms = 30_000,
  ): Promise<StatusView> {
    const end = performance.now() + limit_ms;
    for (;;) {
      const status = await this.server.client.status(plan_id);
      if (holds(status)) return status;
      if (performance.now() > end) {
        throw new Error(`Not within ${limit_ms} ms: ${holds.toString()}. ${JSON.stringify(status)}`);
      }
      await sleep(20);
    }
  }

  async events(topic: string, plan_id?: string): Promise<readonly EventView[]> {
    const page: Page<EventView> = await this.server.client.events({ topic, plan_id, limit: 1000 });
    return page.items;
  }

  /** The results of the first stage of the only plan, in the order of their ordinals, rows of one shard twice included. */
  results(): { readonly ordinal: number; readonly status: string; readonly value: string }[] {
    const batches = this.rows<{ lines: string }>(
      'SELECT lines FROM result WHERE plan_no = 1 AND stage_no = 0',
    );
    const results = batches
      .flatMap(({ lines }) => lines.trimEnd().split('\n'))
      .map((line) => {
        const [ordinal, , status, , , value] = line.split('\t');
        return { ordinal: Number(ordinal), status: status!, value: value! };
      });
    return results.sort((a, b) => a.ordinal - b.ordinal);
  }

  /** Reads from the checkpoint store's file itself. */
  rows<Row>(sql: string, ...parameters: unknown[]): Row[] {
    const db = new Database(this.db_path, { readonly: true });
    try {
      return db.prepare(sql).all(...parameters) as Row[];
    } finally {
      db.close();
    }
  }

  /** `<id> <topic>` of every event in the journal files, in their order. */
  journal(): string[] {
    const folder = join(this.home, 'journal');
    const segment = (name: string): number => Number(/\d+/.exec(name)?.[0]);
    return readdirSync(folder)
      .sort((a, b) => segment(a) - segment(b))
      .flatMap((name) => readFileSync(join(folder, name), 'utf8').trimEnd().split('\n'))
      .map((line) => JSON.parse(line) as { id: string; topic: string })
      .map(({ id, topic }) => `${id} ${topic}`);
  }

  /** The same of the event table. */
  storedEvents(): string[] {
    const rows = this.rows<{ id: number; topic: string }>('SELECT id, topic FROM event ORDER BY id');
    return rows.map(({ id, topic }) => `${id} ${topic}`);
  }

  /** Writes a file of the workspace. */
  write(path: string, content: string): void {
    const file = join(this.workspace, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
  }

  /** Files `d<n>/f<n>.txt` of about `bytes` bytes, the same at every call. */
  writeMany(count: number, bytes = 200): void {
    for (let i = 0; i < count; i++) this.write(fileName(i), fileContent(i, bytes));
  }

  /** Runs the `hxo` command. Anything but its exit code, stdout and stderr is the caller's to judge. */
  async hxo(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
    const child = spawn(process.execPath, [cli_main, ...args], {
      cwd: this.folder,
      env: childEnvironment(this.current === undefined ? {} : { HXO_URL: this.server.url }),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    return { code: await exited, stdout, stderr };
  }

  /** `hxo verify --store` on this home. */
  verifyStore(...args: string[]): ReturnType<System['hxo']> {
    return this.hxo('verify', '--store', this.home, '--key', this.key_path, ...args);
  }

  /** Ends what still runs, and removes the folder. */
  async dispose(): Promise<void> {
    this.current?.process.kill();
    await this.fleet?.dispose();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

export function fileName(i: number): string {
  return `d${String(Math.floor(i / 200)).padStart(3, '0')}/f${String(i).padStart(6, '0')}.txt`;
}

/** Differs from every other file's. */
export function fileContent(i: number, bytes = 200): string {
  return `file ${i}, ${(i * 2654435761) % 4294967296}\n`.repeat(Math.ceil(bytes / 10)).slice(0, bytes);
}
