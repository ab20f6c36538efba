import { readdirSync, readFileSync } from 'node:fs';

/** The process `root` and everything that it started, by parents in /proc. */
export function processTree(root) {
  const children = new Map();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = tryRead(`/proc/${name}/stat`);
    if (stat === null) continue;
    // The command, in parentheses, may itself hold spaces and parentheses.
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const tree = [root];
  for (let at = 0; at < tree.length; at++) tree.push(...(children.get(tree[at]) ?? []));
  return tree;
}

/**
 * Memory of a process in bytes: its proportional set size where the kernel tells it, so that pages that several
 * processes share count once, else its resident set size; 0 when it is gone.
 */
export function memoryOf(pid) {
  const rollup = tryRead(`/proc/${pid}/smaps_rollup`);
  const pss = rollup === null ? null : /^Pss:\s+(\d+) kB/m.exec(rollup);
  const rss = /^VmRSS:\s+(\d+) kB/m.exec(tryRead(`/proc/${pid}/status`) ?? '');
  return { pss: Number((pss ?? rss)?.[1] ?? 0) * 1024, rss: Number(rss?.[1] ?? 0) * 1024 };
}

/** Processor time of a process and of its children that have ended, in seconds; 0 when it is gone. */
export function cpuSecondsOf(pid) {
  const stat = tryRead(`/proc/${pid}/stat`);
  if (stat === null) return 0;
  // utime, stime, cutime and cstime (proc(5)), in hundredths of a second on every Linux that Node runs on.
  const ticks = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 15);
  return ticks.reduce((sum, each) => sum + Number(each), 0) / 100;
}

function tryRead(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
