import { once } from 'node:events';
import { connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { Hxo } from '#hxo';
import type { HttpOptions } from '../../apps/api/src/http-options.js';
import { configureHttp } from '../../apps/api/src/http-server.js';
import { HttpModule } from '../../apps/api/src/http.module.js';
import { FakeHxo } from './http-contract.fake.js';

@Module({})
class FakeEngine {}

export interface RunningServer {
  readonly app: NestExpressApplication;
  readonly hxo: FakeHxo;
  readonly port: number;
  readonly url: string;
}

/** Starts the HTTP part over a {@link FakeHxo} on a free loopback port. */
export async function startServer(change: Partial<HttpOptions> = {}): Promise<RunningServer> {
  const options: HttpOptions = {
    host: '127.0.0.1',
    tokens: {},
    allow_captain_view: true,
    enabled: true,
    body_limit_bytes: 1024 * 1024,
    ...change,
  };
  const hxo = new FakeHxo();
  const engine = { module: FakeEngine, providers: [{ provide: Hxo, useValue: hxo }], exports: [Hxo] };
  const app = await NestFactory.create<NestExpressApplication>(HttpModule.register(options, [engine]), {
    bodyParser: false,
    logger: false,
    abortOnError: false,
  });
  configureHttp(app, options);
  await app.listen(0, '127.0.0.1');
  const { port } = app.getHttpServer().address() as AddressInfo;
  return { app, hxo, port, url: `http://127.0.0.1:${port}` };
}

export interface RawAnswer {
  /** 0 when the server closed the connection without a word. */
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

/** Sends bytes as they are and reads what comes back until the server closes, which the bytes should ask it to. */
export async function exchange(
  port: number,
  bytes: string | Buffer,
  silent_ms_max = 2_000,
): Promise<RawAnswer> {
  const socket = connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => void chunks.push(chunk));
  // The server may reset a connection whose bytes it no longer wants; what it said before that counts.
  socket.on('error', () => {});
  socket.setTimeout(silent_ms_max, () => socket.destroy());
  socket.end(bytes);
  await once(socket, 'close').catch(() => {});
  const text = Buffer.concat(chunks)
    .toString('utf8')
    .replace(/^HTTP\/1\.1 100 Continue\r\n\r\n/, '');
  const [head = '', ...rest] = text.split('\r\n\r\n');
  return { status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0), head, body: rest.join('\r\n\r\n') };
}

/** A request as bytes. `headers` are lines; `Connection: close` is added. */
export function request(target: string, headers: readonly string[] = ['Host: localhost'], body = ''): string {
  return [`${target} HTTP/1.1`, ...headers, 'Connection: close', '', body].join('\r\n');
}
