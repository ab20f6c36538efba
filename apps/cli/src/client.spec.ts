import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { HxoClient } from './client.js';

let server: Server;
let client: HxoClient;
/** The Retry-After of each 429 to come; afterwards the server answers. */
let refusals: (string | null)[];
let asked: number;
let paths: (string | undefined)[];
let notes: string[];

beforeEach(async () => {
  [refusals, asked, notes, paths] = [[], 0, [], []];
  server = createServer((request, response) => {
    paths.push(request.url);
    asked++;
    const wait = refusals.shift();
    if (wait === undefined) return response.end('{"plan_id":"p"}');
    if (wait !== null) response.setHeader('retry-after', wait);
    response.writeHead(429).end(JSON.stringify({ code: 'TOO_MANY_REQUESTS', detail: 'Send fewer.' }));
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  client = new HxoClient({ url, note: (sentence) => void notes.push(sentence) });
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

describe('a server that has had too many requests', () => {
  it('is asked again when it says so, or after a second, and this is told', async () => {
    refusals = ['1', null];
    const begun = performance.now();
    expect(await client.status('p')).toEqual({ plan_id: 'p' });
    expect(performance.now() - begun).toBeGreaterThanOrEqual(1990);
    const sentence = 'The server has had too many requests from here. Trying again in 1 s.';
    expect({ asked, notes }).toEqual({ asked: 3, notes: [sentence, sentence] });
  });

  it('may name a date', async () => {
    refusals = [new Date(Date.now() + 2000).toUTCString()];
    expect(await client.status('p')).toEqual({ plan_id: 'p' });
    expect(asked).toBe(2);
  });

  it('is not waited for beyond the limit: the refusal is the answer', async () => {
    refusals = ['121'];
    await expect(client.status('p')).rejects.toMatchObject({ code: 'TOO_MANY_REQUESTS', exit_code: 4 });
    expect({ asked, notes }).toEqual({ asked: 1, notes: [] });
  });
});

it('names modules by their own slashes, and none that would name another route', async () => {
  await client.registry('@scope/größe');
  expect(paths).toEqual(['/api/hxo/registry/%40scope/gr%C3%B6%C3%9Fe']);
  for (const module of ['', '@scope/', '../plans', 'a/./b'])
    await expect(async () => client.registry(module)).rejects.toThrow(/names nothing/);
});
