/**
 * Runs as a thread inside a process member and ends the process when its parent is gone. The main thread would see the
 * closed channel by itself, but not while it is in a native call; this thread runs on meanwhile.
 */
import { workerData } from 'node:worker_threads';

const poll_ms = 1_000;
const { parent_pid } = workerData as { parent_pid: number };

setInterval(() => {
  if (process.ppid !== parent_pid) process.kill(process.pid, 'SIGKILL');
}, poll_ms);
