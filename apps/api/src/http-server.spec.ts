import { jest } from '@jest/globals';
import {
  exchange,
  request,
  startServer,
  type RunningServer,
} from '../../../test/e2e/http-contract.server.js';
import { burst_requests } from './request-rate.js';

const tokens = { admiral: 'A'.repeat(43) };
let server: RunningServer;

// The clock stands still: however slow the machine, no request is allowed for in the meantime.
beforeEach(() => void jest.spyOn(performance, 'now').mockReturnValue(0));
afterEach(async () => {
  jest.restoreAllMocks();
  await server.app.close();
});

/** Sends refused requests over one connection, and counts the answers by their status. The text is that of the last. */
async function flood(requests: number): Promise<{ counts: Record<string, number>; last: string }> {
  const one = request('GET /api/hxo/plans', ['Host: localhost', 'Authorization: Bearer x']);
  const open = one.replace('Connection: close\r\n', '');
  const { head, body } = await exchange(server.port, open.repeat(requests - 1) + one, 20_000);
  const answers = `${head}\r\n\r\n${body}`.split(/(?=HTTP\/1\.1 \d{3} )/);
  const counts: Record<string, number> = {};
  for (const answer of answers) counts[answer.slice(9, 12)] = (counts[answer.slice(9, 12)] ?? 0) + 1;
  return { counts, last: answers.at(-1)! };
}

const audited = (): unknown[] => server.hxo.audited.map(({ data }) => data);

describe('a flood of requests', () => {
  it('is held back where other machines can send it', async () => {
    server = await startServer({ host: '0.0.0.0', tokens });
    const { counts, last } = await flood(burst_requests + 10);
    expect(counts).toEqual({ 401: burst_requests, 429: 10 });
    expect(last).toContain('Retry-After: 1\r\n');
    expect(last).toContain('X-Content-Type-Options: nosniff');
    expect(last).toContain('"code":"TOO_MANY_REQUESTS"');
  });

  it('is not on loopback, and its denials become one entry beside the first', async () => {
    server = await startServer();
    expect((await flood(burst_requests + 10)).counts).toEqual({ 401: burst_requests + 10 });
    expect(audited()).toMatchObject([{ route: '/api/hxo/plans', count: 1 }]);
    await server.app.close();
    expect(audited()).toMatchObject([{ count: 1 }, { route: '/api/hxo/plans', count: burst_requests + 9 }]);
    server = await startServer();
  });
});
