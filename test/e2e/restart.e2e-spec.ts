import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { leftOf } from './support/processes.js';
import { scriptedStage, with_scripted, writeScript } from './support/scripted.js';
import { System } from './support/system.js';

/** What a server does when it stops, starts again, or may not start: one plan lives through all of it. */

const system = new System(with_scripted);
const slow = scriptedStage('slow', ['wait-150-*']);
/** Six seconds of work for two workers: longer than its timebox on the fastest machine. */
const slower = scriptedStage('slower', ['wait-1000-*']);
const shards = 24;
let plan_id: string;

beforeAll(() => {
  writeScript(system, ...Array.from({ length: shards }, (_, i) => `wait-150-${i}`));
  writeScript(system, ...Array.from({ length: 12 }, (_, i) => `wait-1000-${i}`));
});
afterAll(() => system.dispose());

it('SIGTERM drains: what runs is delivered, no lease is lost, and the server exits 0 within its grace', async () => {
  await system.start();
  plan_id = await system.submit(slow);
  await system.until(
    plan_id,
    ({ done_shards, running_shards, claimed_shards }) =>
      done_shards >= 2 && running_shards > 0 && claimed_shards > 0,
  );
  const begun = performance.now();
  await system.server.process.stop();
  expect(performance.now() - begun).toBeLessThan(5_000);
  expect(await leftOf(system.pids, 0)).toEqual([]);
  expect(bundleStates()).toEqual(['closed']);
  const done = doneOf();
  expect(done).toBeGreaterThanOrEqual(2);
  expect(done).toBeLessThan(shards);
});

it('a caller that stalls delays the end by no more than the grace', async () => {
  await system.start({ HXO_DRAIN_MS: '1500' });
  const { hostname, port } = new URL(system.server.url);
  const stalled = connect(Number(port), hostname).on('error', () => {});
  stalled.write(
    `POST /api/hxo/plan HTTP/1.1\r\nHost: localhost:${port}\r\nAuthorization: Admiral\r\n` +
      'Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"name":',
  );
  // Its request is being read once another one, sent later, is answered.
  expect(await system.ask('GET', '/health/live')).toMatchObject({ status: 200 });
  const begun = performance.now();
  await system.server.process.stop();
  expect(performance.now() - begun).toBeLessThan(4_000);
  stalled.destroy();
});

describe('callers at SIGTERM of an idle server', () => {
  const bytes = 48 * 2 ** 20; // Much more than the buffers of a connection hold.
  let digest: string;

  beforeAll(() => {
    const blob = randomBytes(bytes);
    digest = createHash('sha256').update(blob).digest('hex');
    const folder = join(system.home, 'artifacts', digest.slice(0, 2));
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, digest.slice(2)), blob);
  });

  const connected = async (text: string): Promise<Socket> => {
    const { hostname, port } = new URL(system.server.url);
    const socket = connect(Number(port), hostname).on('error', () => {});
    await once(socket, 'connect');
    socket.write(text);
    return socket;
  };
  const head = (line: string): string => `${line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Admiral\r\n`;
  const download = (): Promise<Socket> =>
    connected(`${head(`GET /api/hxo/artifacts/${digest}`)}Connection: close\r\n\r\n`);
  const stopped = async (): Promise<number> => {
    const begun = performance.now();
    await system.server.process.stop();
    return performance.now() - begun;
  };

  it('cost nothing of the drain when they say nothing', async () => {
    await system.start();
    const silent = await Promise.all([connected(''), connected(head('GET /health/live'))]);
    expect(await system.ask('GET', '/health/live')).toMatchObject({ status: 200 });
    expect(await stopped()).toBeLessThan(1_500);
    expect(system.server.process.logTail()).not.toContain('cut off');
    for (const socket of silent) socket.destroy();
  });

  it('cost little of it when they stand still, and are named in the log', async () => {
    await system.start();
    const post = 'Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"name":';
    const [reader, writer] = await Promise.all([download(), connected(head('POST /api/hxo/plan') + post)]);
    await once(reader, 'readable'); // And nothing of it is ever read.
    expect(await stopped()).toBeLessThan(4_000);
    const why = 'its caller stood still for 1000 ms';
    const told = system.server.process.logTail();
    expect(told).toContain('HTTP requests cut off: 2: ');
    expect(told).toContain(`GET /api/hxo/artifacts/${digest} (${why})`);
    expect(told).toContain(`POST /api/hxo/plan (${why})`);
    for (const socket of [reader, writer]) socket.destroy();
  });

  it('are answered to the end while they read, slowly too', async () => {
    await system.start();
    const reader = await download();
    let read = 0;
    let pauses = 0;
    reader.on('data', take);
    const ended = once(reader, 'end');
    function take(chunk: Buffer): void {
      read += chunk.length;
      if (read < (pauses + 1) * 2 ** 22) return;
      pauses++;
      reader.pause();
      setTimeout(() => reader.resume(), 200);
    }
    await once(reader, 'pause');
    const [ms] = await Promise.all([stopped(), ended]);
    expect(ms).toBeGreaterThan(1_200);
    expect(read).toBeGreaterThan(bytes);
    expect(system.server.process.logTail()).not.toContain('cut off');
  });

  it('are cut off at the end of the drain, however they read, and are named in the log', async () => {
    await system.start({ HXO_DRAIN_MS: '1500' });
    const reader = await download();
    const slowly = setInterval(() => void reader.read(2 ** 16), 10);
    reader.pause();
    const ms = await stopped();
    clearInterval(slowly);
    reader.destroy();
    expect(ms).toBeGreaterThan(1_400);
    expect(ms).toBeLessThan(4_000);
    expect(system.server.process.logTail()).toContain(
      `HTTP requests cut off: 1: GET /api/hxo/artifacts/${digest} (not answered in time).`,
    );
  });
});

it('HXO_ENABLED=false: reads answer, writes are refused, nothing resumes', async () => {
  const done = doneOf();
  await system.start({ HXO_ENABLED: 'false' });
  const status = await system.server.client.status(plan_id);
  expect(status).toMatchObject({ phase: 'running', done_shards: done, total_shards: shards });
  const body = { name: 'p', stages: [slow] };
  for (const [path, sent] of [
    ['create-and-submit', body],
    ['plan', body],
    ['submit', { plan_id }],
    [`abort/${plan_id}`, undefined],
  ] as const) {
    expect(await system.ask('POST', `/api/hxo/${path}`, { body: sent })).toMatchObject({
      status: 503,
      body: { code: 'HXO_DISABLED' },
    });
  }
  for (const path of ['plans', `plans/${plan_id}/shards`, `report/${plan_id}`, 'audit']) {
    expect(await system.ask('GET', `/api/hxo/${path}`)).toMatchObject({ status: 200 });
  }
  expect(await system.server.client.status(plan_id)).toMatchObject({ done_shards: done, claimed_shards: 0 });
});

it('a second server on the same store refuses to start, and says what to do', async () => {
  const second = system.launch();
  if (!second.gone.aborted) await once(second.gone, 'abort');
  expect(String(second.gone.reason)).toContain('code 1');
  expect(second.logTail()).toMatch(
    /Another HXO process leads this checkpoint store\. Stop it first, or give this one its own HXO_HOME/,
  );
  expect(second.logTail()).not.toMatch(/\n\s+at |TypeError/);
  expect(await system.ask('GET', '/health/live')).toMatchObject({ status: 200 });
  await system.server.process.stop();
});

it('GENESIS_MODE=disabled stops events, not plans: the plan resumes where it was, with no lease lost', async () => {
  const done = doneOf();
  const [{ last } = { last: 0 }] = system.rows<{ last: number }>('SELECT max(id) AS last FROM event');
  await system.start({ GENESIS_MODE: 'disabled' });
  const report = await system.ended(plan_id);
  expect(report).toMatchObject({ phase: 'succeeded', done_shards: shards, truth_certified: true });
  expect(bundleStates()).toEqual(['closed']);
  expect(system.rows('SELECT * FROM failure')).toEqual([]);
  const { items } = await system.server.client.shards(plan_id, { limit: 100 });
  expect(items.every(({ failures }) => failures === 0)).toBe(true);
  expect(done).toBeGreaterThan(0);
  expect(system.rows('SELECT id FROM event WHERE id > ?', last)).toEqual([]);
  await system.server.process.stop();
});

it('the timebox goes on through a restart, and a crash does not extend it', async () => {
  await system.start();
  const boxed = await system.submit(slower, { constraints: { timebox_ms: 4_000 } });
  await system.until(boxed, ({ done_shards }) => done_shards >= 1);
  system.server.process.kill();
  await system.start();
  expect(await system.ended(boxed)).toMatchObject({ phase: 'aborted', error: { code: 'TIMEBOX_EXCEEDED' } });
  await system.server.process.stop();
});

it('beyond loopback, tokens are required: to start, and of every caller', async () => {
  const open = system.launch({ HXO_HOST: '0.0.0.0' });
  if (!open.gone.aborted) await once(open.gone, 'abort');
  expect(String(open.gone.reason)).toContain('code 1');
  expect(open.logTail()).toContain('HXO_ADMIRAL_TOKEN');

  const [admiral, captain] = ['admiral-token-for-tests', 'captain-token-for-tests'];
  await system.start({ HXO_HOST: '0.0.0.0', HXO_ADMIRAL_TOKEN: admiral, HXO_CAPTAIN_TOKEN: captain });
  const local = system.server.url.replace('0.0.0.0', '127.0.0.1');
  const status = async (
    path: string,
    authorization: string | null,
    method: 'GET' | 'POST' = 'GET',
  ): Promise<number> => {
    const headers: Record<string, string> = authorization === null ? {} : { authorization };
    return (await fetch(local + path, { method, headers })).status;
  };
  expect(await status(`/api/hxo/status/${plan_id}`, null)).toBe(401);
  expect(await status(`/api/hxo/status/${plan_id}`, 'Admiral')).toBe(401);
  expect(await status(`/api/hxo/status/${plan_id}`, `Bearer ${captain}`)).toBe(200);
  expect(await status(`/api/hxo/status/${plan_id}`, `Bearer ${captain}x`)).toBe(401);
  expect(await status(`/api/hxo/abort/${plan_id}`, `Bearer ${captain}`, 'POST')).toBe(403);
  expect(await status(`/api/hxo/abort/${plan_id}`, `Admiral ${admiral}`, 'POST')).toBe(409);
  expect(await status('/health/live', null)).toBe(200);
  await system.server.process.stop();
  expect(await leftOf(system.pids, 1_000)).toEqual([]);
});

function bundleStates(): string[] {
  const rows = system.rows<{ state: string }>(
    'SELECT DISTINCT state FROM bundle JOIN plan USING (plan_no) WHERE plan_id = ?',
    plan_id,
  );
  return rows.map(({ state }) => state);
}

function doneOf(): number {
  return system.rows<{ done: number }>(
    'SELECT coalesce(sum(count), 0) AS done FROM result JOIN plan USING (plan_no) WHERE plan_id = ?',
    plan_id,
  )[0]!.done;
}
