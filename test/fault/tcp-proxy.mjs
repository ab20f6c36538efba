import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * A network between a worker and Redis that can be broken. It loses no byte in the middle of a connection, because TCP does
 * not: bytes come late, or the connection ends.
 */
export class TcpProxy {
  #links = new Set();
  #refusing = false;
  #delay_ms = 0;
  /** Direction → what its bytes wait for. */
  #gates = { up: Promise.resolve(), down: Promise.resolve() };
  #server;

  /** @param target_port of 127.0.0.1 */
  static async start(target_port) {
    const proxy = new TcpProxy();
    proxy.#server = createServer((socket) => proxy.#link(socket, target_port)).listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url() {
    return `redis://127.0.0.1:${this.#server.address().port}`;
  }

  /** Ends every connection in good order, and refuses new ones for a while. */
  async cut(duration_ms) {
    this.#refusing = true;
    for (const socket of this.#links) socket.destroy();
    await sleep(duration_ms);
    this.#refusing = false;
  }

  /** Resets every connection. New ones are taken at once. */
  reset() {
    for (const socket of this.#links) socket.resetAndDestroy();
  }

  /** Every piece comes so much later, for a while. */
  async slow(delay_ms, duration_ms) {
    this.#delay_ms = delay_ms;
    await sleep(duration_ms);
    this.#delay_ms = 0;
  }

  /**
   * Bytes of these directions (`up` is to Redis, `down` is from it) stand still for a while, though connections look whole.
   * @param then what becomes of the connections: `deliver` or `reset`
   */
  async hold(directions, duration_ms, then) {
    let open;
    const gate = new Promise((resolve) => {
      open = resolve;
    });
    for (const direction of directions) this.#gates[direction] = gate;
    await sleep(duration_ms);
    if (then === 'reset') this.reset();
    for (const direction of directions) this.#gates[direction] = Promise.resolve();
    open();
  }

  close() {
    this.#server.close();
    for (const socket of this.#links) socket.destroy();
  }

  #link(client, target_port) {
    if (this.#refusing) {
      client.on('error', () => {});
      client.resetAndDestroy();
      return;
    }
    const upstream = connect(target_port, '127.0.0.1');
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ]) {
      socket.setNoDelay(true);
      this.#links.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => {
        this.#links.delete(socket);
        other.destroy();
      });
    }
    void this.#carry(client, upstream, 'up');
    void this.#carry(upstream, client, 'down');
  }

  async #carry(from, to, direction) {
    try {
      for await (const chunk of from) {
        await this.#gates[direction];
        if (this.#delay_ms > 0) await sleep(this.#delay_ms);
        if (!to.write(chunk)) await once(to, 'drain');
      }
      to.end();
    } catch {
      // The connection broke, which is what a network does: both ends hear of it.
      from.destroy();
      to.destroy();
    }
  }
}
