import { fork } from 'node:child_process';
import type { Readable } from 'node:stream';
import { Worker } from 'node:worker_threads';
import { lane_fd, lane_record_bytes, lanes_max, type FromMember, type ToMember } from './protocol.js';

/** A thread or a process of the pool, as the pool sees it. */
export interface Member {
  /** What each lane shows now: {@link lane_idle}, or the sequence number of the shard that runs in it. */
  readonly lanes: Int32Array;
  /** Sends a message; one to a member that is gone goes nowhere. */
  send(message: ToMember): void;
  /** Ends the member, whatever it does. Returns at once; `exited` follows. */
  kill(): void;
}

export interface MemberListener {
  message(message: FromMember): void;
  /** The member is gone. Called once, after every message that it had posted before it ended. */
  exited(reason: string): void;
}

export interface MemberOptions {
  /** The script that a member runs: it calls `serveMember`. */
  readonly script: URL;
  /** Passed to the script; anything that structured clone takes. */
  readonly member_options: unknown;
  readonly env: Readonly<Record<string, string>>;
  /** Limit of a member's JavaScript heap, in MiB. Left out: Node's own. */
  readonly max_old_space_mb?: number | undefined;
}

/** Short-lived objects are most of what shards make: more room for them costs each thread memory, and saves no time. */
const young_generation_mb = 8;

/** Starts a worker thread. Its kill stops JavaScript, endless loops included, but no native call that is running. */
export function startThread(options: MemberOptions, listener: MemberListener): Member {
  const lanes = new Int32Array(new SharedArrayBuffer(lanes_max * Int32Array.BYTES_PER_ELEMENT));
  const worker = new Worker(options.script, {
    env: { ...options.env },
    resourceLimits: {
      maxYoungGenerationSizeMb: young_generation_mb,
      ...(options.max_old_space_mb && { maxOldGenerationSizeMb: options.max_old_space_mb }),
    },
  });
  let failure = '';
  worker.on('message', (message: FromMember) => listener.message(message));
  worker.on('error', (error: unknown) => (failure = `: ${String(error)}`));
  // Node empties the thread's port before it says so.
  worker.on('exit', (code) => listener.exited(`thread exited with code ${code}${failure}`));
  worker.postMessage({ type: 'init', options: options.member_options, lanes } satisfies ToMember);
  return {
    lanes,
    send: (message) => worker.postMessage(message),
    kill: () => void worker.terminate(),
  };
}

/** Starts a child process. Its kill is SIGKILL, which stops native calls too. */
export function startProcess(options: MemberOptions, listener: MemberListener): Member {
  const lanes = new Int32Array(lanes_max);
  const child = fork(options.script, {
    env: { ...options.env },
    execArgv: options.max_old_space_mb ? [`--max-old-space-size=${options.max_old_space_mb}`] : [],
    serialization: 'advanced',
    stdio: ['ignore', 'inherit', 'inherit', 'ipc', 'pipe'],
  });
  let exited = false;
  const exit = (reason: string): void => {
    if (!exited) listener.exited(reason);
    exited = true;
  };
  child.on('message', (message) => listener.message(message as FromMember));
  // 'close', not 'exit': only then are the channel and the lanes read to their end.
  child.on('close', (code, signal) =>
    exit(`process ${signal ? `was ended by ${signal}` : `exited with code ${code}`}`),
  );
  child.on('error', (error) => {
    if (child.pid === undefined) exit(`process could not be started: ${error.message}`);
  });
  if (child.pid !== undefined) followLanes(child.stdio[lane_fd] as Readable, lanes);
  const send = (message: ToMember): void => {
    if (child.connected) child.send(message, () => undefined);
  };
  send({ type: 'init', options: options.member_options, lanes: null });
  return { lanes, send, kill: () => void child.kill('SIGKILL') };
}

function followLanes(stream: Readable, lanes: Int32Array): void {
  let rest: Buffer = Buffer.alloc(0);
  stream.on('data', (chunk: Buffer) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    for (; at + lane_record_bytes <= bytes.length; at += lane_record_bytes) {
      lanes[bytes.readInt32LE(at)] = bytes.readInt32LE(at + 4);
    }
    rest = bytes.subarray(at);
  });
  // Torn down together with the process; its end is told by 'close'.
  stream.on('error', () => undefined);
}
