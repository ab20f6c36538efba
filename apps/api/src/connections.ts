import { once } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** What a caller gets to send or take its next byte, once the server ends. */
const patience_ms = 1_000;
const look_every_ms = 50;
const path_length_max = 120;

/** The connections of an HTTP server, followed from before it listens, so that it can end without waiting for idle ones. */
export class Connections {
  /** Requests of each that are not answered to the end. The first is the one whose answer is being written. */
  private readonly open = new Map<Socket, Set<ServerResponse>>();

  constructor(private readonly server: Server) {
    server.on('connection', (socket: Socket) => {
      this.open.set(socket, new Set());
      socket.once('close', () => this.open.delete(socket));
    });
    server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
      const answers = this.open.get(socket);
      answers?.add(response);
      response.once('close', () => answers?.delete(response));
    });
  }

  /**
   * Takes no more connections, and ends those without a request. Requests that are being answered get `grace_ms`, but a
   * caller that has a byte to send or to take, and for a second does not, is cut off. Returns what was cut off, in words.
   */
  async end(grace_ms: number): Promise<string[]> {
    const cut_off: string[] = [];
    const cut = (socket: Socket, why: string): void => {
      for (const { req } of this.open.get(socket) ?? [])
        cut_off.push(`${req.method} ${pathOf(req).slice(0, path_length_max)} (${why})`);
      socket.destroy();
    };
    this.server.on('timeout', (socket: Socket) => {
      if (this.waitsForCaller(socket)) cut(socket, `its caller stood still for ${patience_ms} ms`);
      else socket.setTimeout(patience_ms);
    });
    for (const socket of this.open.keys()) socket.setTimeout(patience_ms);
    const look = setInterval(() => {
      for (const [socket, answers] of this.open) if (answers.size === 0) socket.destroySoon();
    }, look_every_ms);
    const limit = setTimeout(() => {
      for (const socket of this.open.keys()) cut(socket, 'not answered in time');
    }, grace_ms);
    const closed = once(this.server, 'close');
    this.server.close();
    await closed;
    clearInterval(look);
    clearTimeout(limit);
    return cut_off;
  }

  /** Is it the caller's turn: is there a part of the request that has not come, or of the answer that was not taken? */
  private waitsForCaller(socket: Socket): boolean {
    const [first] = this.open.get(socket) ?? [];
    return first === undefined || !first.req.complete || socket.writableLength > 0;
  }
}

function pathOf({ url = '' }: IncomingMessage): string {
  return url.split('?', 1)[0]!;
}
