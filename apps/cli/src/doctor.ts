import { accessSync, constants, existsSync, statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Command } from 'commander';
import { unfinished_phases } from '#hxo';
import { loadSettings, SettingsError, type Settings } from '#settings';
import type { HxoClient } from './client.js';
import { CommandError, exit_codes } from './exit-codes.js';
import { answer, openSession, type GlobalOptions } from './session.js';

interface Finding {
  readonly name: string;
  readonly result: 'ok' | 'warning' | 'failed';
  /** What was found and, unless it is fine, the way out. */
  readonly detail: string;
}

interface Check extends Finding {
  /** Of what it speaks: this machine by the settings of this command, or the server, which has its own. */
  readonly of: 'command' | 'server';
}

const node_minimum = [20, 19] as const;
/** Unfinished plans of each phase that are looked at. */
const plans_max = 100;
const disk_failed_below_bytes = 100 * 1024 ** 2;
const disk_warning_below_bytes = 1024 ** 3;

/** `hxo doctor`: looks at this machine and at the server, and says what to do about what it finds. */
export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('check settings, folders and the server, and say what to do')
    .action(async (_options: object, command: Command) => {
      const here = [nodeCheck(process.versions.node), ...settingsChecks()];
      const there = await serverChecks(command);
      const checks: Check[] = [
        ...here.map((check) => ({ ...check, of: 'command' as const })),
        ...there.map((check) => ({ ...check, of: 'server' as const })),
      ];
      const { json = false } = command.optsWithGlobals<GlobalOptions>();
      answer({ json }, { ok: !checks.some(isFailed), checks }, () =>
        [
          'Here, by the settings of this command; a server that was started with others has others:',
          ...here.map(lineOf),
          '',
          'The server:',
          ...there.map(lineOf),
        ].join('\n'),
      );
      if (checks.some(isFailed)) process.exitCode = exit_codes.failed;
    });
}

function lineOf({ name, result, detail }: Finding): string {
  return `${result.padEnd(7)}  ${name}: ${detail}`;
}

function isFailed(check: Check): boolean {
  return check.result === 'failed';
}

function nodeCheck(version: string): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const fits = major > node_minimum[0] || (major === node_minimum[0] && minor >= node_minimum[1]);
  return fits
    ? { name: 'node', result: 'ok', detail: `version ${version}` }
    : {
        name: 'node',
        result: 'failed',
        detail: `version ${version} is too old; install Node ${node_minimum.join('.')} or later`,
      };
}

function settingsChecks(): Finding[] {
  let settings: Settings;
  try {
    settings = loadSettings();
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    return error.problems.map(({ variable, value, allowed }) => ({
      name: 'settings',
      result: 'failed',
      detail: `${variable}${value === null ? '' : `=${value}`}: ${allowed}`,
    }));
  }
  return [
    { name: 'settings', result: 'ok', detail: 'all valid' },
    ...settings.warnings.map((detail): Finding => ({ name: 'settings', result: 'warning', detail })),
    tokenCheck(settings),
    workspaceCheck(settings.workspace),
    writableCheck(settings.home),
    diskCheck(settings.home),
  ];
}

function tokenCheck({ tokens, host }: Settings): Finding {
  const roles = Object.keys(tokens);
  return {
    name: 'tokens',
    result: 'ok',
    detail:
      roles.length > 0
        ? `set for ${roles.join(' and ')}`
        : `none: anybody on this machine may act as Admiral; the server listens on ${host}, reachable from nowhere else`,
  };
}

function workspaceCheck(workspace: string): Finding {
  const isFolder = statSync(workspace, { throwIfNoEntry: false })?.isDirectory() ?? false;
  return isFolder
    ? { name: 'workspace', result: 'ok', detail: workspace }
    : {
        name: 'workspace',
        result: 'failed',
        detail: `${workspace} is no folder; set HXO_WORKSPACE to the tree to work on`,
      };
}

function writableCheck(home: string): Finding {
  const folder = nearestExisting(home);
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
    return { name: 'home', result: 'ok', detail: existsSync(home) ? home : `${home} (made at first start)` };
  } catch {
    const user = process.getuid?.() ?? 'this user';
    return {
      name: 'home',
      result: 'failed',
      detail: `${folder} is not writable for user ${user}; give it away with chown, or set HXO_HOME`,
    };
  }
}

function diskCheck(home: string): Finding {
  const { bavail, bsize } = statfsSync(nearestExisting(home));
  const free_bytes = bavail * bsize;
  const free = `${(free_bytes / 1024 ** 3).toFixed(1)} GiB free`;
  if (free_bytes < disk_failed_below_bytes) {
    return {
      name: 'disk',
      result: 'failed',
      detail: `${free}: nothing can be stored; free space or move HXO_HOME`,
    };
  }
  if (free_bytes < disk_warning_below_bytes) {
    return {
      name: 'disk',
      result: 'warning',
      detail: `${free}: large plans may fill it; free space or move HXO_HOME`,
    };
  }
  return { name: 'disk', result: 'ok', detail: free };
}

async function serverChecks(command: Command): Promise<Finding[]> {
  try {
    const { client } = openSession(command);
    const { status, detail } = await client.readiness();
    if (status === 'not ready')
      return [{ name: 'server', result: 'failed', detail: `${client.url} is not ready: ${detail}` }];
    const server: Finding =
      status === 'ready'
        ? { name: 'server', result: 'ok', detail: `${client.url} is ready` }
        : { name: 'server', result: 'warning', detail: `${client.url} is disabled: ${detail}` };
    return [server, ...(await waitingPlans(client))];
  } catch (error) {
    if (!(error instanceof CommandError || error instanceof SettingsError)) throw error;
    return [{ name: 'server', result: 'failed', detail: error.message }];
  }
}

/** Plans that make no progress because something is missing, an executor that no worker offers for one. */
async function waitingPlans(client: HxoClient): Promise<Finding[]> {
  const waiting: Finding[] = [];
  for (const phase of unfinished_phases) {
    const { items } = await client.plans({ phase, limit: plans_max });
    for (const { plan_id, plan_name } of items) {
      const { waiting_for } = await client.status(plan_id);
      if (waiting_for === null) continue;
      const detail = `${plan_id} (${plan_name}) waits for ${waiting_for}`;
      waiting.push({ name: 'plan', result: 'warning', detail });
    }
  }
  return waiting;
}

/** The folder itself, or the nearest one above it that is there. */
function nearestExisting(folder: string): string {
  return existsSync(folder) || dirname(folder) === folder ? folder : nearestExisting(dirname(folder));
}
