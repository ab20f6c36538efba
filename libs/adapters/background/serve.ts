import { parentPort } from 'node:worker_threads';
import type { Answer, Call, Handler, Taken } from './protocol.js';

/** A call that is being answered. */
interface Answering {
  readonly stop: AbortController;
  /** Settles the part that waits to be taken. */
  taken: (ok: boolean) => void;
}

/** Serves calls inside a background thread. */
export function serveBackground(handlers: Readonly<Record<string, Handler>>): void {
  const port = parentPort;
  if (port === null) throw new Error('The background script runs as a thread of the API, not by itself.');
  const say = (answer: Answer): void => port.postMessage(answer);
  const answering = new Map<number, Answering>();

  const answer = async ({ id, method, argument }: Call): Promise<void> => {
    const call: Answering = { stop: new AbortController(), taken: () => {} };
    const { signal } = call.stop;
    answering.set(id, call);
    const emit = async (part: unknown): Promise<void> => {
      signal.throwIfAborted();
      say({ id, part });
      const ok = await new Promise<boolean>((resolve) => (call.taken = resolve));
      if (!ok) throw new Error('The caller takes no more.');
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
    if (!ok) call?.stop.abort();
    call?.taken(ok);
  };

  port.on('message', (message: Call | Taken) => {
    if ('method' in message) void answer(message);
    else heard(message);
  });
}
