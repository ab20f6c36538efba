import { parentPort } from 'node:worker_threads';
import type { Answer, Call, Handler, Taken } from './protocol.js';

/** Parts of an answer on their way: one is taken while the next is made. */
const parts_ahead_max = 2;

/** A call that is being answered. */
interface Answering {
  readonly stop: AbortController;
  /** Parts that were sent and not taken yet. */
  sent: number;
  /** Told when a part was taken. */
  taken: () => void;
}

/** Serves calls inside a background thread. */
export function serveBackground(handlers: Readonly<Record<string, Handler>>): void {
  const port = parentPort;
  if (port === null) throw new Error('The background script runs as a thread of the API, not by itself.');
  const say = (answer: Answer): void => port.postMessage(answer);
  const answering = new Map<number, Answering>();

  const answer = async ({ id, method, argument }: Call): Promise<void> => {
    const call: Answering = { stop: new AbortController(), sent: 0, taken: () => {} };
    const { signal } = call.stop;
    answering.set(id, call);
    const emit = async (part: unknown): Promise<void> => {
      signal.throwIfAborted();
      say({ id, part });
      call.sent++;
      while (call.sent >= parts_ahead_max && !signal.aborted)
        await new Promise<void>((resolve) => (call.taken = resolve));
      if (signal.aborted) throw new Error('The caller takes no more.');
    };
    try {
      say({ id, result: await handlers[method]!(argument, emit, signal) });
    } catch (error) {
      const { name, message, code } = error as NodeJS.ErrnoException;
      say({ id, error: { name, message, code } });
    }
    answering.delete(id);
  };

  const heard = ({ id, ok }: Taken): void => {
    const call = answering.get(id);
    if (call === undefined) return;
    if (ok) call.sent--;
    else call.stop.abort();
    call.taken();
  };

  port.on('message', (message: Call | Taken) => {
    if ('method' in message) void answer(message);
    else heard(message);
  });
}
