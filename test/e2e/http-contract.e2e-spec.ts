import { HxoError } from '#hxo';
import { DenialRecorder, mayCall, type CoalescedDenials, type Role } from '#permission';
import type { HttpOptions } from '../../apps/api/src/http-options.js';
import type { Problem } from '../../apps/api/src/problem.js';
import { routesOf } from '../../apps/api/src/routes.js';
import { mulberry32, RequestFuzzer } from './http-contract.fuzz.js';
import { exchange, request, startServer, type RunningServer } from './http-contract.server.js';

const plan = { name: 'my_plan', stages: [{ id: 'pack', kind: 'deploy.pack' }] };
const json = { 'Content-Type': 'application/json' };
const admiral = { ...json, Authorization: 'Admiral' };

let server: RunningServer;
const servers: RunningServer[] = [];
beforeAll(async () => void (server = await start()));
afterAll(() => Promise.all(servers.map(({ app }) => app.close())));
beforeEach(() => void (server.hxo.fault = null));

async function start(change?: Partial<HttpOptions>): Promise<RunningServer> {
  const started = await startServer(change);
  servers.push(started);
  return started;
}

const get = (path: string, headers: Readonly<Record<string, string>> = { Authorization: 'Admiral' }) =>
  fetch(server.url + path, { headers });
const post = (
  path: string,
  body?: string | Buffer<ArrayBuffer>,
  headers: Readonly<Record<string, string>> = admiral,
) => fetch(server.url + path, { method: 'POST', headers, body });
const postJson = (path: string, body: unknown, headers?: Readonly<Record<string, string>>) =>
  post(path, JSON.stringify(body), headers);

/** The problem of an answer, after the checks that hold for every problem. */
async function problemOf(response: Response): Promise<Problem> {
  expect(response.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  const problem = (await response.json()) as Problem;
  expect(problem).toMatchObject({
    type: `urn:hxo:problem:${problem.code}`,
    status: response.status,
    title: expect.any(String) as string,
    detail: expect.any(String) as string,
    instance: new URL(response.url).pathname,
    errors: expect.any(Array) as unknown[],
  });
  expect(JSON.stringify(problem)).not.toMatch(/node_modules|\.[jt]s:|SELECT|\/libs\//);
  return problem;
}

describe('the contract', () => {
  it('creates, submits, answers for and aborts plans', async () => {
    const submitted = await postJson('/api/hxo/create-and-submit', plan);
    expect(submitted.status).toBe(202);
    const { plan_id, ...rest } = (await submitted.json()) as { plan_id: string };
    expect(rest).toEqual({ name: 'my_plan', status: 'submitted', total_shards: null });

    const created = await postJson('/api/hxo/plan', plan);
    expect(created.status).toBe(201);
    const second = (await created.json()) as { plan_id: string };
    expect((await postJson('/api/hxo/submit', second)).status).toBe(202);
    expect((await postJson('/api/hxo/submit', second)).status).toBe(409);

    expect(await (await get(`/api/hxo/status/${plan_id}`, {})).json()).toMatchObject({ plan_id });
    expect(await (await get(`/api/hxo/report/${plan_id}`, {})).json()).toMatchObject({ final: false });
    expect((await get(`/api/hxo/report/${plan_id}/certificate`, {})).status).toBe(409);
    const receipt = await get(`/api/hxo/report/${plan_id}/shards/pack/0/receipt`, {});
    expect(await receipt.json()).toEqual({ plan_id, stage: 'pack', ordinal: 0 });
    expect((await get(`/api/hxo/plans/${plan_id}/shards?phase=failed`)).status).toBe(200);
    expect(await (await get('/api/hxo/plans?limit=1')).json()).toMatchObject({ items: [{ plan_id }] });

    const search = await get(`/api/hxo/search?q=two+words&limit=2&plan_id=${plan_id}`);
    expect(await search.json()).toMatchObject({ query: 'two words', plan_id, total: 2, items: [{}, {}] });

    // As `curl -X POST` sends it: without a body, and without its type.
    const aborted = await post(`/api/hxo/abort/${plan_id}`, undefined, { Authorization: 'Admiral' });
    expect([aborted.status, await aborted.json()]).toEqual([200, { plan_id, status: 'aborted' }]);
  });

  it('answers 404 for what is not there', async () => {
    expect((await problemOf(await get('/api/hxo/status/none', {}))).code).toBe('PLAN_NOT_FOUND');
    expect((await problemOf(await get('/api/hxo/replay/x'))).code).toBe('ROUTE_NOT_FOUND');
    expect((await problemOf(await get('/'))).code).toBe('ROUTE_NOT_FOUND');
    expect((await problemOf(await get('/api/hxo/artifacts/ABC'))).code).toBe('ARTIFACT_NOT_FOUND');
    expect((await problemOf(await get(`/api/hxo/artifacts/${'0'.repeat(64)}`))).code).toBe(
      'ARTIFACT_NOT_FOUND',
    );
    expect((await problemOf(await get('/api/hxo/search?q=word'))).code).toBe('INDEX_NOT_FOUND');
    expect((await problemOf(await get('/api/hxo/search?q=word&plan_id=none'))).code).toBe('PLAN_NOT_FOUND');
    const receipt = await get('/api/hxo/report/x/shards/pack/01/receipt');
    expect((await problemOf(receipt)).code).toBe('SHARD_NOT_FOUND');
  });

  it('names modules of the registry as they are', async () => {
    for (const path of ['@scope/größe', '%40scope/gr%C3%B6%C3%9Fe'])
      expect(await (await get(`/api/hxo/registry/${path}`)).json()).toEqual({ module: '@scope/größe' });
    const none = await get('/api/hxo/registry/none');
    expect([none.status, (await problemOf(none)).code]).toEqual([404, 'REGISTRY_ENTRY_NOT_FOUND']);
    expect((await problemOf(await get('/api/hxo/registry/'))).code).toBe('ROUTE_NOT_FOUND');
    expect((await problemOf(await get('/api/hxo/registry/@scope%2Fname'))).code).toBe('MALFORMED_PATH');
    expect((await get('/api/hxo/registry/@scope/größe', {})).status).toBe(401);
    server.hxo.fault = new HxoError('CACHE_UNAVAILABLE', 'Redis is away.');
    const away = await get('/api/hxo/registry/none');
    expect([away.status, away.headers.get('retry-after')]).toEqual([503, '5']);
    expect((await problemOf(away)).code).toBe('CACHE_UNAVAILABLE');
  });

  it('streams artifacts', async () => {
    const { digest, blob } = server.hxo;
    const whole = await get(`/api/hxo/artifacts/${digest}`);
    expect(Buffer.from(await whole.arrayBuffer()).equals(blob)).toBe(true);
    expect(Object.fromEntries(whole.headers)).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-length': String(blob.length),
      etag: `"${digest}"`,
      'x-content-type-options': 'nosniff',
    });
    const headers = { Authorization: 'Captain' };
    const head = await fetch(`${server.url}/api/hxo/artifacts/${digest}`, { method: 'HEAD', headers });
    expect([head.status, head.headers.get('content-length')]).toEqual([200, String(blob.length)]);
    const conditional = ['Host: localhost', 'Authorization: Admiral', `If-None-Match: "${digest}"`];
    const known = await exchange(server.port, request(`GET /api/hxo/artifacts/${digest}`, conditional));
    expect([known.status, known.body]).toEqual([304, '']);
  });

  it('passes idempotency keys on', async () => {
    const headers = { ...admiral, 'Idempotency-Key': 'deploy-17' };
    const first: unknown = await (await postJson('/api/hxo/create-and-submit', plan, headers)).json();
    const again = await postJson('/api/hxo/create-and-submit', plan, headers);
    expect([again.status, await again.json()]).toEqual([202, first]);
    const other = await postJson('/api/hxo/create-and-submit', { ...plan, name: 'other' }, headers);
    expect((await problemOf(other)).code).toBe('IDEMPOTENCY_KEY_REUSED');
    for (const key of ['two words', 'k'.repeat(201)]) {
      const bad = await postJson('/api/hxo/create-and-submit', plan, { ...admiral, 'Idempotency-Key': key });
      expect((await problemOf(bad)).code).toBe('INVALID_HEADER');
    }
  });

  it('shows audit events to those who may audit', async () => {
    const topics = async (headers: Readonly<Record<string, string>>) => {
      const page = (await (await get('/api/genesis/events', headers)).json()) as {
        items: { topic: string }[];
      };
      return page.items.map(({ topic }) => topic);
    };
    expect(await topics({})).toEqual(['hxo.plan']);
    expect(await topics({ Authorization: 'Captain' })).toEqual(['hxo.plan', 'hxo.audit']);
    expect((await get('/api/genesis/events?topic=hxo.audit', {})).status).toBe(401);
    expect((await get('/api/genesis/events?topic=hxo.audit')).status).toBe(200);
    expect((await get('/api/genesis/events?topic=hxo.*', {})).status).toBe(200);
  });

  it('tells probes how it is, without credentials', async () => {
    expect(await (await get('/health/live', {})).json()).toEqual({ status: 'live' });
    expect(await (await get('/health/ready', {})).json()).toEqual({ status: 'ready' });
    server.hxo.reasons = ['The disk is full.'];
    const response = await get('/health/ready', {});
    server.hxo.reasons = [];
    expect(response.headers.get('retry-after')).toBe('5');
    expect(await problemOf(response)).toMatchObject({ code: 'NOT_READY', detail: 'The disk is full.' });
  });
});

describe('bad input', () => {
  const target = '/api/hxo/create-and-submit';
  const stage = (change: object) => ({ ...plan, stages: [{ ...plan.stages[0], ...change }] });

  it.each<[string, string | Buffer<ArrayBuffer>, number, string | null]>([
    ['malformed JSON', '{"name":', 400, null],
    ['an empty body', '', 400, null],
    ['bad UTF-8', Buffer.from([0x22, 0xff, 0x22]), 400, null],
    ['a list', '[]', 400, ''],
    ['an unknown field', JSON.stringify({ ...plan, x: 1 }), 400, 'x'],
    ['a wrong type', JSON.stringify({ ...plan, name: 1 }), 400, 'name'],
    ['a number out of range', JSON.stringify(stage({ slo_ms: -1 })), 400, 'stages[0].slo_ms'],
    ['a number that no double holds', '{"name":"x","stages":[{"slo_ms":1e400}]}', 400, 'stages[0].slo_ms'],
    ['NUL', JSON.stringify({ ...plan, name: 'a\0' }), 400, 'name'],
    ['a lone surrogate', '{"name":"\\ud800"}', 400, 'name'],
    ['__proto__', '{"__proto__":{"polluted":1}}', 400, '__proto__'],
    ['constructor', '{"config":{"constructor":{"prototype":{"polluted":1}}}}', 400, 'config.constructor'],
    ['a duplicate key', '{"name":"a","name":"b"}', 400, 'name'],
    ['nesting over 32', `{"a":${'['.repeat(32)}${']'.repeat(32)}}`, 400, null],
    ['nesting without end', '['.repeat(500_000), 400, null],
    ['a body over the limit', JSON.stringify({ ...plan, name: 'n'.repeat(1024 * 1024) }), 413, null],
    ['an unknown kind', JSON.stringify(stage({ kind: 'x' })), 422, null],
    ['a kind that is not built', JSON.stringify(stage({ kind: 'deploy.migrate' })), 422, null],
  ])('%s', async (_, body, status, field) => {
    const response = await post(target, body);
    const problem = await problemOf(response);
    expect(response.status).toBe(status);
    if (field !== null) expect(problem.errors.map((error) => error.field)).toContain(field);
    expect(Object.prototype).not.toHaveProperty('polluted');
  });

  it.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/json; charset=latin1',
    'application/jsonx',
    'nonsense',
    '',
  ])('media type %j is 415', async (type) => {
    const response = await post(target, JSON.stringify(plan), { ...admiral, 'Content-Type': type });
    expect((await problemOf(response)).code).toBe('UNSUPPORTED_MEDIA_TYPE');
  });

  it('takes JSON with its charset, and no compressed body', async () => {
    const utf8 = { ...admiral, 'Content-Type': 'Application/JSON; charset="UTF-8"' };
    expect((await postJson(target, plan, utf8)).status).toBe(202);
    const gzip = await postJson(target, plan, { ...admiral, 'Content-Encoding': 'gzip' });
    expect((await problemOf(gzip)).code).toBe('UNSUPPORTED_MEDIA_TYPE');
  });

  it('reads no body of a caller who may not send it', async () => {
    expect((await post(target, '{', json)).status).toBe(401);
    expect((await post(target, '{', { ...json, Authorization: 'Captain' })).status).toBe(403);
  });

  it.each(['DELETE', 'PUT', 'GET', 'PATCH'])('%s on a POST route is 405 with Allow', async (method) => {
    const response = await fetch(server.url + target, { method, headers: admiral });
    expect((await problemOf(response)).code).toBe('METHOD_NOT_ALLOWED');
    expect(response.headers.get('allow')).toBe('POST, OPTIONS');
  });

  it.each([
    '/%',
    '/%zz',
    '//',
    '/api//hxo/plans',
    '/api%2fhxo%2fplans',
    '/api/hxo/..%2fplans',
    '/api/hxo/status/%00',
  ])('path %s is 400', async (path) => {
    const { status, body } = await exchange(server.port, request(`GET ${path}`));
    expect([status, (JSON.parse(body) as Problem).code]).toEqual([400, 'MALFORMED_PATH']);
  });

  it.each<[string, string, number, string]>([
    ['a URI over 8,000 characters', request(`GET /${'a'.repeat(8_000)}`), 414, 'URI_TOO_LONG'],
    ['a URI larger than the parser takes', request(`GET /${'a'.repeat(40_000)}`), 414, 'URI_TOO_LONG'],
    [
      'large headers',
      request('GET /', ['Host: localhost', `X: ${'a'.repeat(20_000)}`]),
      431,
      'HEADERS_TOO_LARGE',
    ],
    ['no Host', request('GET /health/live', []), 400, 'MALFORMED_REQUEST'],
    ['no HTTP', 'hello\r\n\r\n', 400, 'MALFORMED_REQUEST'],
    [
      'a broken chunk',
      request('POST /api/hxo/plan', ['Host: localhost', 'Transfer-Encoding: chunked'], 'zz\r\n'),
      400,
      'MALFORMED_REQUEST',
    ],
    [
      'two lengths',
      request('POST /api/hxo/plan', ['Host: localhost', 'Content-Length: 1', 'Content-Length: 2'], 'ab'),
      400,
      'MALFORMED_REQUEST',
    ],
    ['another Host', request('GET /health/live', ['Host: evil.example']), 403, 'HOST_NOT_ALLOWED'],
    [
      'another Origin',
      request('GET /health/live', ['Host: localhost', 'Origin: http://evil.example']),
      403,
      'HOST_NOT_ALLOWED',
    ],
    [
      'two credentials',
      request('POST /api/hxo/abort/x', [
        'Host: localhost',
        'Authorization: Admiral',
        'Authorization: Admiral',
      ]),
      401,
      'UNAUTHENTICATED',
    ],
    [
      'a forged address',
      request('POST /api/hxo/abort/x', ['Host: localhost', 'X-Forwarded-For: 127.0.0.1']),
      401,
      'UNAUTHENTICATED',
    ],
  ])('%s is answered by a problem', async (_, bytes, status, code) => {
    const { head, body, ...answer } = await exchange(server.port, bytes);
    expect([answer.status, (JSON.parse(body) as Problem).code]).toEqual([status, code]);
    expect(head).toMatch(/content-type: application\/problem\+json/i);
  });

  it.each([
    'limit=0',
    'limit=1&limit=2',
    'phase=x',
    'page=2',
    '__proto__=1',
    'constructor=1',
    'cursor=%00',
    'name=',
  ])('query ?%s is 400 naming the parameter', async (query) => {
    const problem = await problemOf(await get(`/api/hxo/plans?${query}`));
    expect([problem.code, problem.errors[0]?.field]).toEqual(['INVALID_QUERY', query.split('=')[0]]);
  });

  it('names the topics that there are', async () => {
    const problem = await problemOf(await get('/api/genesis/events?topic=hxo.shard.fialed', {}));
    expect(problem.errors[0]?.message).toContain('hxo.shard.failed');
  });

  it('says 503 with Retry-After when the store is away', async () => {
    server.hxo.fault = new HxoError('STORE_UNAVAILABLE', 'The checkpoint store is locked.');
    const response = await get('/api/hxo/plans');
    expect(response.headers.get('retry-after')).toBe('5');
    expect((await problemOf(response)).code).toBe('STORE_UNAVAILABLE');
  });

  it('shows nothing of an unexpected error but where to look', async () => {
    server.hxo.fault = new Error('SELECT secret FROM /libs/hxo');
    const problem = await problemOf(await get('/api/hxo/plans'));
    expect(problem).toMatchObject({ status: 500, code: 'INTERNAL_ERROR' });
    expect(problem.correlation_id).toMatch(/^[0-9a-f-]{36}$/);
    expect(problem.detail).toContain(problem.correlation_id);
  });

  it('audits denials', async () => {
    server.hxo.audited.length = 0;
    await post('/api/hxo/abort/p1', undefined, { Authorization: 'Captain' });
    await exchange(server.port, request('GET /api/hxo/plans', ['Host: evil.example']));
    expect(server.hxo.audited).toMatchObject([
      {
        actor: 'captain',
        action: 'access.denied',
        outcome: 'denied',
        plan_id: null,
        data: { method: 'POST', route: '/api/hxo/abort/:plan_id' },
      },
      { actor: 'anonymous', action: 'access.denied', data: { method: 'GET', route: '/api/hxo/plans' } },
    ]);
  });
});

describe('who may call what', () => {
  const tokens = { admiral: 'A'.repeat(43), captain: 'C'.repeat(43) };

  /** Credentials of each form, and the role that they stand for; null when they stand for none. */
  const callers: Record<'development' | 'tokens', [string | undefined, Role | null][]> = {
    development: [
      [undefined, 'anonymous'],
      ['captain', 'captain'],
      ['Admiral', 'admiral'],
      ['Bearer x', null],
    ],
    tokens: [
      [undefined, null],
      [`Bearer ${tokens.captain}`, 'captain'],
      [`Admiral ${tokens.admiral}`, 'admiral'],
      ['Bearer wrong', null],
      ['Admiral', null],
    ],
  };

  it('every route declares it', () => {
    const routes = routesOf(server.app);
    expect(routes.filter(({ need }) => need === undefined)).toEqual([]);
    expect(routes.map(({ method, path, need }) => `${method} ${path} ${need}`)).toEqual([
      'POST /api/hxo/create-and-submit hxo:submit',
      'POST /api/hxo/plan hxo:plan',
      'POST /api/hxo/submit hxo:submit',
      'POST /api/hxo/abort/:plan_id hxo:abort',
      'GET /api/hxo/status/:plan_id anyone',
      'GET /api/hxo/report/:plan_id anyone',
      'GET /api/hxo/report/:plan_id/certificate anyone',
      'GET /api/hxo/report/:plan_id/shards/:stage/:ordinal/receipt anyone',
      'GET /api/hxo/plans hxo:view',
      'GET /api/hxo/plans/:plan_id/shards hxo:view',
      'GET /api/hxo/audit hxo:audit',
      'GET /api/hxo/registry/*module hxo:view',
      'GET /api/hxo/search hxo:view',
      'GET /api/hxo/artifacts/:digest hxo:view',
      'GET /api/genesis/events anyone',
      'GET /health/live public',
      'GET /health/ready public',
    ]);
  });

  it.each([
    ['development', true],
    ['development', false],
    ['tokens', true],
    ['tokens', false],
  ] as const)('%s form, captains may view: %s', async (form, allow_captain_view) => {
    const guarded = await start({ allow_captain_view, tokens: form === 'tokens' ? tokens : {} });
    const denials = guarded.app.get<DenialRecorder, CoalescedDenials>(DenialRecorder);
    for (const { method, path, need } of routesOf(guarded.app)) {
      const url = guarded.url + path.replace(/:\w+/g, 'x');
      for (const [credential, role] of callers[form]) {
        const headers = { ...json, ...(credential === undefined ? {} : { Authorization: credential }) };
        const admitted =
          need === 'public' ||
          (role !== null && need !== undefined && mayCall(role, need, { allow_captain_view }));
        const refusal = role === null || role === 'anonymous' ? 401 : 403;
        for (const asked of method === 'GET' ? ['GET', 'HEAD', 'OPTIONS'] : [method, 'OPTIONS']) {
          const before = guarded.hxo.audited.length;
          const { status, headers: answered } = await fetch(url, { method: asked, headers });
          const row = `${asked} ${path} as ${credential ?? 'nobody'}`;
          expect([row, status === 401 || status === 403 ? status : 'admitted']).toEqual([
            row,
            admitted ? 'admitted' : refusal,
          ]);
          expect([row, guarded.hxo.audited.length - before]).toEqual([row, admitted ? 0 : 1]);
          // Each one counts as the first of its kind again.
          await denials.flush();
          if (status === 401) expect(answered.get('www-authenticate')).toMatch(/realm="hxo"/);
        }
      }
    }
  });

  it('refuses to listen for other machines without tokens', async () => {
    await expect(startServer({ host: '0.0.0.0' })).rejects.toThrow(/HXO_ADMIRAL_TOKEN/);
  });
});

describe('fuzzing', () => {
  it('gets no 500 and leaves the server alive', async () => {
    const fuzzer = new RequestFuzzer(mulberry32(20251011), server.hxo.digest);
    const statuses: Record<number, number> = {};
    const reached = server.hxo.calls;
    const total = 3_000;
    for (let sent = 0; sent < total; sent += 20) {
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => exchange(server.port, fuzzer.next())),
      );
      for (const { status } of answers) statuses[status] = (statuses[status] ?? 0) + 1;
    }
    const handled = server.hxo.calls - reached;
    process.stdout.write(`fuzz: ${JSON.stringify(statuses)}, ${handled} of ${total} reached a handler\n`);
    expect(Object.keys(statuses).filter((status) => Number(status) >= 500)).toEqual([]);
    // A connection closed without a word is no answer either.
    expect(statuses[0] ?? 0).toBe(0);
    expect(handled).toBeGreaterThan(total * 0.3);
    expect((await get('/health/live', {})).status).toBe(200);
    expect(Object.prototype).not.toHaveProperty('polluted');
  }, 60_000);
});
