import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { sha256, type HttpAnswer, type HttpRequest } from '#hxo/execute';
import { createHttpClient, type HttpClientOptions } from './index.js';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;
const servers: Server[] = [];
afterAll(() => {
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
});

/** A server on loopback. Returns its port. */
async function serve(handler: Handler): Promise<number> {
  const server = createServer(handler).listen(0, '127.0.0.1');
  servers.push(server);
  await new Promise((resolve) => server.once('listening', resolve));
  return (server.address() as AddressInfo).port;
}

const loopback = [{ host: '127.0.0.1', prefix_bits: null, port: null }];
const named = (host: string) => ({ host, prefix_bits: null, port: null });

function ask(
  url: string,
  change: Partial<HttpRequest> = {},
  options: Partial<HttpClientOptions> = {},
): Promise<HttpAnswer> {
  const signal = new AbortController().signal;
  const request = { method: 'GET', url, timeout_ms: 5_000, origin_concurrency_max: 4, signal } as const;
  return createHttpClient({ allowed: loopback, ...options }).request({ ...request, ...change });
}

const refused = (code: string) =>
  expect.objectContaining({ name: 'HttpRefused', verdict: 'fail', code }) as Error;
const failed = (message: RegExp) =>
  expect.objectContaining({
    ...{ name: 'HttpFailed', verdict: 'retry', code: 'HTTP_FAILED' },
    message: expect.stringMatching(message) as string,
  }) as Error;

it('reads an answer to its end and tells of it', async () => {
  const seen: IncomingMessage['headers'][] = [];
  const port = await serve((request, response) => {
    seen.push(request.headers);
    response.writeHead(200, { etag: '"v1"', 'set-cookie': 'a=b' }).end('hello');
  });
  const client = createHttpClient({ allowed: loopback });
  const signal = new AbortController().signal;
  for (const method of ['GET', 'HEAD'] as const) {
    const url = `http://127.0.0.1:${port}/a?b=c`;
    const answer = await client.request({
      method,
      url,
      timeout_ms: 1_000,
      origin_concurrency_max: 1,
      signal,
    });
    const body = method === 'GET' ? 'hello' : '';
    expect(answer).toEqual({
      ...{ status: 200, etag: '"v1"', redirects: 0, latency_ms: expect.any(Number) as number },
      ...{ body_bytes: body.length, body_digest: sha256(body) },
    });
  }
  for (const headers of seen) {
    expect(Object.keys(headers).sort()).toEqual([
      'accept',
      'accept-encoding',
      'connection',
      'host',
      'user-agent',
    ]);
  }
});

describe('hosts', () => {
  it('nobody is asked who is not listed, and the variable is named', async () => {
    let asked = 0;
    const port = await serve((_, response) => void response.end(String(asked++)));
    const url = `http://127.0.0.1:${port}/`;
    const none = ask(url, {}, { allowed: [] });
    await expect(none).rejects.toThrow(
      /127\.0\.0\.1:\d+ is not a host that may be asked.*HXO_PRIME_ALLOWED_HOSTS/,
    );
    await expect(ask(url, {}, { allowed: [{ ...loopback[0]!, port: port + 1 }] })).rejects.toThrow(
      refused('HOST_NOT_ALLOWED'),
    );
    expect(asked).toBe(0);
  });

  it.each(['127.0.0.1', '::1', '10.0.0.1', '169.254.169.254', '::ffff:127.0.0.1', '64:ff9b::7f00:1'])(
    'a listed name that leads to %s reaches nothing',
    async (address) => {
      let asked = 0;
      const port = await serve((_, response) => void response.end(String(asked++)));
      const resolve = async () => [{ address, family: address.includes(':') ? 6 : 4 }];
      const options = { allowed: [named('app.example.com')], resolve };
      const answer = ask(`http://app.example.com:${port}/`, {}, options);
      await expect(answer).rejects.toThrow(refused('ADDRESS_NOT_ALLOWED'));
      expect(asked).toBe(0);
    },
  );

  it('connects to the address that it checked, and asks no second time for another', async () => {
    const port = await serve((request, response) => void response.end(request.headers.host));
    let asked = 0;
    // First one that is listed, then another: a name that is rebound between check and connection.
    const resolve = async () => [{ address: asked++ === 0 ? '127.0.0.1' : '127.0.0.2', family: 4 }];
    const options = { allowed: [named('app.example.com'), loopback[0]!], resolve };
    expect(await ask(`http://app.example.com:${port}/`, {}, options)).toMatchObject({ status: 200 });
    expect(asked).toBe(1);
  });

  it('leaves out the addresses that are not allowed, when there are others', async () => {
    const port = await serve((_, response) => void response.end());
    const resolve = async () => ['169.254.169.254', '127.0.0.1'].map((address) => ({ address, family: 4 }));
    const options = { allowed: [named('app.example.com'), loopback[0]!], resolve };
    expect(await ask(`http://app.example.com:${port}/`, {}, options)).toMatchObject({ status: 200 });
  });

  it('localhost may be listed by its name', async () => {
    const port = await serve((_, response) => void response.end());
    expect(await ask(`http://localhost:${port}/`, {}, { allowed: [named('localhost')] })).toMatchObject({
      status: 200,
    });
  });
});

describe('redirects', () => {
  const redirecting = (location: string, status = 302) =>
    serve((request, response) => {
      if (request.url === '/end') response.end('here');
      else response.writeHead(status, { location }).end('moved');
    });

  it.each([301, 302, 303, 307, 308])('follows %i with the same method', async (status) => {
    const methods: string[] = [];
    const port = await serve((request, response) => {
      methods.push(request.method!);
      if (request.url === '/end') response.end();
      else response.writeHead(status, { location: '/end' }).end();
    });
    const answer = await ask(`http://127.0.0.1:${port}/`, { method: 'HEAD' });
    expect([answer.status, answer.redirects, methods]).toEqual([200, 1, ['HEAD', 'HEAD']]);
  });

  it.each([
    ['http://169.254.169.254/latest/meta-data/', 'HOST_NOT_ALLOWED'],
    ['http://0xa9fea9fe/', 'HOST_NOT_ALLOWED'],
    ['http://[::1]/', 'HOST_NOT_ALLOWED'],
    ['//localhost/', 'HOST_NOT_ALLOWED'],
    ['\\\\evil.test\\', 'HOST_NOT_ALLOWED'],
    ['file:///etc/passwd', 'URL_NOT_ALLOWED'],
    ['http://user:pw@127.0.0.1/', 'URL_NOT_ALLOWED'],
    ['javascript:alert(1)', 'URL_NOT_ALLOWED'],
    ['http://[', 'URL_NOT_ALLOWED'],
  ])('does not follow one to %s', async (location, code) => {
    const port = await redirecting(location);
    await expect(ask(`http://127.0.0.1:${port}/`)).rejects.toThrow(refused(code));
  });

  it('checks the address that a redirect leads to as well', async () => {
    const port = await redirecting('http://inner.example.com/');
    const options = {
      allowed: [...loopback, named('inner.example.com')],
      resolve: async () => [{ address: '10.0.0.7', family: 4 }],
    };
    await expect(ask(`http://127.0.0.1:${port}/`, {}, options)).rejects.toThrow(
      refused('ADDRESS_NOT_ALLOWED'),
    );
  });

  it('follows three and no more', async () => {
    const port = await serve((request, response) => {
      const left = Number(request.url!.slice(1));
      if (left === 0) response.end();
      else response.writeHead(302, { location: `/${left - 1}` }).end();
    });
    expect(await ask(`http://127.0.0.1:${port}/3`)).toMatchObject({ status: 200, redirects: 3 });
    await expect(ask(`http://127.0.0.1:${port}/4`)).rejects.toThrow(refused('TOO_MANY_REDIRECTS'));
  });
});

describe('caps', () => {
  it('on the time of the whole exchange: an answer that never begins, or drips', async () => {
    const dripping = new Set<NodeJS.Timeout>();
    const port = await serve((request, response) => {
      if (request.url === '/drip') dripping.add(setInterval(() => response.write('x'), 20));
    });
    for (const path of ['', 'drip']) {
      const begun = performance.now();
      const answer = ask(`http://127.0.0.1:${port}/${path}`, { timeout_ms: 150 });
      await expect(answer).rejects.toThrow(failed(/no whole answer within 150 ms/));
      expect(performance.now() - begun).toBeLessThan(2_000);
    }
    for (const timer of dripping) clearInterval(timer);
  });

  it('on the time over all redirects together', async () => {
    const port = await serve((_, response) => {
      setTimeout(() => response.writeHead(302, { location: '/again' }).end(), 120);
    });
    const answer = ask(`http://127.0.0.1:${port}/`, { timeout_ms: 200 });
    await expect(answer).rejects.toThrow(failed(/within 200 ms/));
  });

  it('on the bytes of the body, however they come', async () => {
    let sent = 0;
    const port = await serve((request, response) => {
      if (request.url === '/fits') return void response.end('x'.repeat(1_000));
      const endless = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536))) sent += 65_536;
      };
      response.on('drain', endless);
      endless();
    });
    const options = { body_bytes_max: 1_000 };
    expect(await ask(`http://127.0.0.1:${port}/fits`, {}, options)).toMatchObject({ body_bytes: 1_000 });
    const endless = ask(`http://127.0.0.1:${port}/endless`, {}, options);
    await expect(endless).rejects.toThrow(refused('ANSWER_TOO_LARGE'));
    expect(sent).toBeLessThan(50_000_000);
  });

  it('on the bytes of the headers', async () => {
    const port = await serve((_, response) => {
      response.writeHead(200, { long: 'x'.repeat(20_000) }).end();
    });
    await expect(ask(`http://127.0.0.1:${port}/`)).rejects.toThrow(failed(/./));
  });

  it('on requests to one origin at once, in their order, over all callers', async () => {
    let under_way = 0;
    let most = 0;
    const order: string[] = [];
    const port = await serve((request, response) => {
      order.push(request.url!);
      most = Math.max(most, ++under_way);
      setTimeout(() => (under_way--, response.end()), 10);
    });
    const client = createHttpClient({ allowed: loopback });
    const { signal } = new AbortController();
    const urls = Array.from({ length: 12 }, (_, i) => `http://127.0.0.1:${port}/${i}`);
    const request = { method: 'GET', timeout_ms: 5_000, origin_concurrency_max: 3, signal } as const;
    await Promise.all(urls.map((url) => client.request({ ...request, url })));
    expect(most).toBe(3);
    expect(order).toHaveLength(12);
    expect(order.slice(0, 3).sort()).toEqual(['/0', '/1', '/2']);
  });
});

it('ends at once when its caller stops, waiting or under way', async () => {
  const port = await serve(() => undefined);
  const client = createHttpClient({ allowed: loopback });
  const caller = new AbortController();
  const request = { method: 'GET', timeout_ms: 60_000, origin_concurrency_max: 1 } as const;
  const url = `http://127.0.0.1:${port}/`;
  const stopped = [1, 2].map(() => client.request({ ...request, url, signal: caller.signal }));
  const patient = client.request({ ...request, url, timeout_ms: 300, signal: new AbortController().signal });
  patient.catch(() => undefined);
  await sleep(50);
  caller.abort(new Error('stopped'));
  for (const each of stopped) await expect(each).rejects.toThrow('stopped');
  // Its turn came when those before it had gone.
  await expect(patient).rejects.toThrow(failed(/within 300 ms/));
});

it('says what went wrong when no answer comes', async () => {
  const refusing = createTcpServer().listen(0, '127.0.0.1');
  await sleep(10);
  const { port } = refusing.address() as AddressInfo;
  await new Promise((resolve) => refusing.close(resolve));
  await expect(ask(`http://127.0.0.1:${port}/`)).rejects.toThrow(failed(/ECONNREFUSED/));
  const broken = await serve((_, response) => {
    response.writeHead(200, { 'content-length': '100' }).write('x');
    setTimeout(() => response.destroy(), 10);
  });
  await expect(ask(`http://127.0.0.1:${broken}/?token=geheim`)).rejects.toThrow(failed(/^(?!.*geheim)/));
  const missing = async () =>
    Promise.reject(Object.assign(new Error('getaddrinfo ENOTFOUND'), { code: 'ENOTFOUND' }));
  const options = { allowed: [named('none.example.com')], resolve: missing };
  await expect(ask('http://none.example.com/', {}, options)).rejects.toThrow(failed(/ENOTFOUND/));
});

it('asks again when a connection that was kept open had been closed', async () => {
  let requests = 0;
  let closed = 0;
  const port = await serve((request, response) => {
    // Every second request of a connection finds it closed, without an answer.
    if (request.socket.bytesRead > 200) return (closed++, void request.socket.destroy());
    requests++;
    response.end('ok');
  });
  const client = createHttpClient({ allowed: loopback });
  const { signal } = new AbortController();
  const request = { method: 'GET', timeout_ms: 1_000, origin_concurrency_max: 1, signal } as const;
  for (let i = 0; i < 3; i++) {
    const url = `http://127.0.0.1:${port}/${'p'.repeat(30)}`;
    expect(await client.request({ ...request, url })).toMatchObject({ status: 200 });
  }
  expect([requests, closed]).toEqual([3, 2]);
});
