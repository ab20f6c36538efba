import { request } from './http-contract.server.js';

/** Seeded random numbers from 0 to 1 (Mulberry32, T. Ettinger, public domain). */
export function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const odd_texts = [
  '',
  '..',
  '%00',
  '%2f',
  'é',
  '%',
  'a'.repeat(300),
  "' OR 1=1 --",
  '[]',
  '-1',
  '1e9',
  '\u202e',
];
const odd_queries = [
  'limit=',
  'cursor=%zz',
  'a[b]=c',
  '__proto__=1',
  'topic=hxo.*',
  'limit=1&limit=2',
  '%00=%00',
  '&&&',
];
const odd_values = [
  null,
  0,
  -1,
  1.5,
  2 ** 53,
  true,
  '',
  '\0',
  '\ud800',
  'x'.repeat(5_000),
  [],
  {},
  [[]],
  { a: 1 },
];

/** Makes requests that are valid but for a few random changes: in their values, their structure or their bytes. */
export class RequestFuzzer {
  constructor(
    private readonly random: () => number,
    private readonly digest: string,
  ) {}

  next(): Buffer {
    const [method, target, body] = this.route();
    const verb = this.usually(method, ['HEAD', 'OPTIONS', 'PUT', 'TRACE', 'get', 'FROB']);
    const bytes = Buffer.from(request(`${verb} ${target}`, this.headers(body), body));
    const flips = this.usually(0, [1, 2, 5]);
    for (let i = 0; i < flips; i++) {
      bytes[Math.floor(this.random() * bytes.length)] = Math.floor(this.random() * 256);
    }
    return bytes;
  }

  private route(): readonly [string, string, string] {
    const { digest } = this;
    switch (Math.floor(this.random() * 13)) {
      case 0:
      case 1:
        return ['POST', '/api/hxo/create-and-submit', this.plan()];
      case 2:
        return ['POST', '/api/hxo/plan', this.plan()];
      case 3:
        return ['POST', '/api/hxo/submit', JSON.stringify({ plan_id: this.id() })];
      case 4:
        return ['POST', `/api/hxo/abort/${this.id()}`, ''];
      case 5:
        return ['GET', `/api/hxo/status/${this.id()}${this.query('')}`, ''];
      case 6:
        return ['GET', `/api/hxo/report/${this.id()}/shards/${this.id('pack')}/${this.id('0')}/receipt`, ''];
      case 7:
        return ['GET', `/api/hxo/plans${this.query('?limit=5')}`, ''];
      case 8:
        return ['GET', `/api/hxo/plans/${this.id()}/shards${this.query('?phase=failed')}`, ''];
      case 9:
        return ['GET', `/api/hxo/artifacts/${this.id(digest)}`, ''];
      case 10:
        return ['GET', `/api/genesis/events${this.query('?topic=*&after=3')}`, ''];
      case 11:
        return ['GET', `/api/hxo/search${this.query('?q=word&limit=5')}`, ''];
      default:
        return ['GET', `/${this.id()}`, ''];
    }
  }

  private plan(): string {
    const stage: Record<string, unknown> = { id: 'pack', kind: 'deploy.pack' };
    const plan: Record<string, unknown> = { name: 'fuzzed', stages: [stage] };
    const stage_field = this.usually('', [
      'id',
      'kind',
      'slo_ms',
      'config',
      'retry',
      'dependencies',
      'constructor',
    ]);
    if (stage_field !== '') stage[stage_field] = this.pick(odd_values);
    const plan_field = this.usually('', ['name', 'stages', 'constraints', 'extra', 'prototype']);
    if (plan_field !== '') plan[plan_field] = this.pick(odd_values);
    return JSON.stringify(plan);
  }

  private headers(body: string): string[] {
    return [
      this.usually('Host: localhost', ['Host: evil.example', 'Host:', 'X-No-Host: 1', 'Host: [::1]:8000']),
      this.usually('Authorization: Admiral', [
        'Authorization: captain',
        'Authorization: \xff',
        'X-Nobody: 1',
      ]),
      this.usually('Accept: */*', [
        'Idempotency-Key: k',
        'Expect: 100-continue',
        'If-None-Match: *',
        'Range: bytes=0-',
      ]),
      ...(body === ''
        ? []
        : [
            this.usually('Content-Type: application/json', [
              'Content-Type: text/html',
              'Content-Type: ;',
              'X-No-Type: 1',
            ]),
            `Content-Length: ${Buffer.byteLength(body)}`,
          ]),
    ];
  }

  private id(valid = 'plan-1'): string {
    const odd = this.pick(odd_texts);
    return this.usually(valid, [odd, encodeURIComponent(odd), 'plan-2']);
  }

  private query(valid: string): string {
    return this.usually(valid, [`?${this.pick(odd_queries)}`]);
  }

  /** The valid choice in six of seven cases, an odd one otherwise. */
  private usually<T>(valid: T, odd: readonly T[]): T {
    return this.random() < 6 / 7 ? valid : this.pick(odd);
  }

  private pick<T>(items: readonly T[]): T {
    const item = items[Math.floor(this.random() * items.length)];
    if (item === undefined) throw new RangeError('Nothing to pick from.');
    return item;
  }
}
