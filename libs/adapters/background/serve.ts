import { parentPort } from 'node:worker_threads';
import type { Answer, Call, Handler, Taken } from './protocol.js';

/** Serves calls inside the background thread. */
export function serveBackground(handlers: Readonly<Record<string, Handler>>): void {
  const port = parentPort;
  if (port === null) throw new Error('The background script runs as a thread of the API, not by itself.');
  const say = (answer: Answer): void => port.postMessage(answer);
  const emitting = new Map<number, (taken: Taken) => void>();

  const answer = async ({ id, method, argument }: Call): Promise<void> => {
    const emit = async (part: unknown): Promise<void> => {
      say({ id, part });
      const taken = await new Promise<Taken>((resolve) => emitting.set(id, resolve));
      if (!taken.ok) throw new Error('The caller takes no more.');
    };
    try {
      say({ id, result: await handlers[method]!(argument, emit) });
    } catch (error) {
      const { name, message } = error as Error;
      say({ id, error: { name, message } });
    }
    emitting.delete(id);
  };

  port.on('message', (message: Call | Taken) => {
    if ('method' in message) void answer(message);
    else emitting.get(message.id)?.(message);
  });
}
