import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** A process in /proc. */
export interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  /** `Z` is a zombie: dead, and not yet waited for. */
  readonly state: string;
  readonly command: string;
}

/** Processes of the groups that servers lead, dead ones left out: what is left when a server is gone is an orphan. */
export function processesOf(groups: readonly number[]): Process[] {
  return allProcesses().filter(({ group, state }) => groups.includes(group) && state !== 'Z');
}

/** Waits until those groups are empty, and returns what is left of them after `limit_ms`. */
export async function leftOf(groups: readonly number[], limit_ms: number): Promise<Process[]> {
  const end = performance.now() + limit_ms;
  for (;;) {
    const left = processesOf(groups);
    if (left.length === 0 || performance.now() > end) return left;
    await sleep(50);
  }
}

function allProcesses(): Process[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
        const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
        // The command's name, in parentheses, may itself hold spaces and parentheses.
        const [state = '', parent, group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        return [{ pid: Number(name), parent: Number(parent), group: Number(group), state, command }];
      } catch {
        return []; // It ended meanwhile.
      }
    });
}
