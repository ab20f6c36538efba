import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Page, PlanListItem, StatusView, SubmittedView } from '#hxo';
import { childEnvironment, type Environment } from '#settings';
import { ServerProcess } from '../../apps/cli/src/server-process.js';

export const cli_main = resolve('dist/apps/cli/src/main.js');
const server_main = resolve('dist/apps/api/src/main.js');
/** The URL that the documents speak to; the server under test has another port. */
const documented_url = 'http://localhost:8000';
/** Less than a test may take: what hangs is ended, and its test fails instead of the whole run. */
const command_max_ms = 25_000;
/** Commands that never end by themselves are ended after so long; their readers then see the end of their input. */
const endless = 'tail() { timeout 2 tail "$@"; }; watch() { timeout --foreground 3 watch "$@"; }';

/** `it`, or a skipped one that names which of the tools (words) are missing here. */
export function itWith(
  tools: string,
): (name: string, test: () => Promise<void>, timeout_ms?: number) => void {
  const folders = (process.env.PATH ?? '').split(delimiter);
  const missing = tools
    .split(' ')
    .filter((tool) => !folders.some((folder) => existsSync(join(folder, tool))));
  if (missing.length === 0) return it;
  return (name, test) => it.skip(`${name} (skipped: no ${missing.join(', ')} here)`, test);
}

/** How a shell ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Problem {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
}

/** A server as the documents describe it, in a folder of its own, and the shell in which their commands are typed. */
export class DocumentedServer {
  readonly folder = mkdtempSync(join(tmpdir(), 'hxo-documents-'));
  url = '';
  private server: ServerProcess | undefined;

  /** `files` are written into the folder: `workspace/` is what plans read, `executors/` what the server loads, unless variables say otherwise. */
  constructor(
    private readonly variables: Environment,
    files: Readonly<Record<string, string>>,
  ) {
    for (const [path, content] of Object.entries(files)) this.write(path, content);
    // What `npx hxo` finds where the package is installed.
    const command = this.write(
      'node_modules/.bin/hxo',
      `#!/bin/sh\nexec '${process.execPath}' '${cli_main}' "$@"\n`,
    );
    chmodSync(command, 0o755);
  }

  async start(): Promise<void> {
    this.server = new ServerProcess(server_main, this.folder, {
      HXO_WORKSPACE: 'workspace',
      HXO_EXECUTORS: 'executors/*.mjs',
      ...this.variables,
      HXO_PORT: '0',
    });
    this.url = await this.server.listening();
  }

  async stop(): Promise<void> {
    await this.server?.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Writes a file of the folder and returns its path. */
  write(path: string, content: string): string {
    const file = join(this.folder, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
    return file;
  }

  /** A documented command for this server and a plan of it. */
  here(command: string, plan_id = ''): string {
    const url = `http://localhost:${new URL(this.url).port}`;
    return `${endless}\n${command.replaceAll(documented_url, url).replaceAll('{plan_id}', plan_id)}`;
  }

  /** Runs a documented command. */
  run(command: string, plan_id?: string): Promise<Ended> {
    return this.bash(this.here(command, plan_id));
  }

  /** Runs a documented curl command and returns the JSON that it prints. */
  async curl<Answer>(command: string, plan_id?: string): Promise<Answer> {
    const { code, stdout, stderr } = await this.run(command, plan_id);
    if (code !== 0) throw new Error(`curl ended ${code}: ${stderr}`);
    return JSON.parse(stdout) as Answer;
  }

  async bash(script: string, cwd = this.folder): Promise<Ended> {
    const child = spawn('bash', ['-c', script], {
      cwd,
      env: childEnvironment({ ...this.variables, GENESIS_MODE: 'enabled', HXO_URL: this.url, TERM: 'xterm' }),
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: command_max_ms,
    });
    const exited = new Promise<number | null>((done) => child.once('exit', done));
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    return { code: await exited, stdout, stderr };
  }

  async ask<Answer>(path: string, init: RequestInit = {}): Promise<Answer> {
    const headers = { Authorization: 'Admiral', 'Content-Type': 'application/json' };
    return (await (await fetch(this.url + path, { headers, ...init })).json()) as Answer;
  }

  async submit(plan: string, route = 'create-and-submit'): Promise<string> {
    return (await this.ask<SubmittedView>(`/api/hxo/${route}`, { method: 'POST', body: plan })).plan_id;
  }

  /** Waits for a plan's end. */
  async ended(plan_id: string): Promise<StatusView> {
    for (const end = performance.now() + 20_000; performance.now() < end; await sleep(50)) {
      const status = await this.ask<StatusView>(`/api/hxo/status/${plan_id}`);
      if (status.finished_at !== null) return status;
    }
    throw new Error(`Plan ${plan_id} did not end within 20 s.`);
  }

  async planIds(): Promise<string[]> {
    return (await this.ask<Page<PlanListItem>>('/api/hxo/plans')).items.map((plan) => plan.plan_id);
  }
}
