import { generateKeyPairSync } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import {
  certifyPlan,
  makeReceipt,
  merkleRoot,
  planLeaf,
  rawPublicKey,
  sha256,
  signingKeyOf,
  type Digest,
  type Envelope,
  type PlanPredicate,
} from '#truth';
import type { EventView, PlanListItem, ReportView, SearchView, ShardView, StatusView } from '#hxo';

export const plan_id = 'abc-123';
export const key = signingKeyOf(generateKeyPairSync('ed25519').privateKey);

/** A request as the server got it. */
export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly authorization: string | undefined;
  readonly idempotency_key: string | undefined;
  readonly body: string;
}

const leaf = (ordinal: number) => ({
  cas: sha256(`cas ${ordinal}`),
  executor: 'pack_backend',
  ordinal,
  output: sha256(`output ${ordinal}`),
  stage: 'pack',
  status: 'done' as const,
});
const manifest = Buffer.from('not a manifest');
const packs = Buffer.from('not packs');
const artifacts = [
  { name: 'manifest', digest: sha256(manifest), bytes: manifest.length },
  { name: 'packs', digest: sha256(packs), bytes: packs.length },
];
const stage_output = { ...leaf(0), cas: null, ordinal: null, output: sha256(manifest) };
const leaves = Buffer.concat([planLeaf(leaf(0)), planLeaf(leaf(1)), planLeaf(stage_output)]);
export const root = merkleRoot(leaves);
const counts = { total: 2, done: 2, reused: 1, failed: 0, skipped: 0 };
const times = { started_at: '2025-10-11T20:00:00Z', finished_at: '2025-10-11T20:00:12Z' };
const stage = { id: 'pack', kind: 'deploy.pack', partitioner: 'by_filesize', executor: 'pack_backend' };
const items = { matched: 7, taken: 5, truncated: 2 };
const predicate: PlanPredicate = {
  v: 1,
  plan_id,
  plan_name: 'deploy_backend',
  revision: 1,
  spec_digest: sha256('spec'),
  phase: 'succeeded',
  tree: { root, size: 3 },
  records: { digest: sha256('records'), count: 2 },
  counts,
  stages: [{ ...stage, executor_version: '1', ...counts, ...items, output: sha256(manifest), artifacts }],
  verification: { statement: 'The root was computed again.', root_recomputed: true, artifacts_rehashed: 2 },
  versions: { hxo: '1.9.6n', node: '20.20.2' },
  ...times,
};
export const certificate: Envelope = certifyPlan(predicate, key);
export const receipt = makeReceipt({ leaf: leaf(1), index: 1, leaves, certificate }, [key.publicKey]);

const no_shards = {
  total_shards: 2,
  pending_shards: 2,
  claimed_shards: 0,
  running_shards: 0,
  done_shards: 0,
  failed_shards: 0,
  reused_shards: 0,
  skipped_shards: 0,
  retrying_shards: 0,
};

export const submitted_status: StatusView = {
  plan_id,
  plan_name: 'deploy_backend',
  phase: 'running',
  revision: 1,
  ...no_shards,
  total_final: true,
  merkle_root: null,
  truth_certified: false,
  submitted_at: '2025-10-11T19:59:59Z',
  started_at: times.started_at,
  finished_at: null,
  eta_seconds: 12.5,
  waiting_for: null,
  error: null,
  stages: [
    {
      ...stage,
      ...no_shards,
      executor_version: '1',
      scheduler: 'fair_round_robin',
      phase: 'running',
      total_final: true,
      ...items,
      capped_by: 'total_files',
      slo_ms: 120_000,
      dependencies: [],
      started_at: times.started_at,
      finished_at: null,
      output: null,
    },
  ],
};

const all_done = { pending_shards: 0, done_shards: 2, reused_shards: 1 };
export const succeeded_status: StatusView = {
  ...submitted_status,
  ...all_done,
  ...times,
  phase: 'succeeded',
  merkle_root: root,
  truth_certified: true,
  eta_seconds: 0,
  stages: submitted_status.stages.map((each) => ({
    ...each,
    ...all_done,
    ...times,
    phase: 'done',
    output: sha256(manifest),
  })),
};

export const failed_status: StatusView = {
  ...submitted_status,
  ...times,
  phase: 'failed',
  pending_shards: 0,
  done_shards: 1,
  failed_shards: 1,
  error: { code: 'SHARDS_FAILED', detail: 'One shard failed.' },
};

export const report: ReportView = {
  ...succeeded_status,
  final: true,
  slo: [{ stage: 'pack', slo_ms: 120_000, elapsed_ms: 12_000, verdict: 'met' }],
  reuse: {
    reused: 1,
    executed: 1,
    misses: { content_changed: 1 },
    stages: [{ stage: 'pack', reused: 1, executed: 1, misses: { content_changed: 1 } }],
  },
  failures: [],
  outputs: [{ stage: 'pack', digest: sha256(manifest), value: { files: 5 }, artifacts }],
  notes: ['Two files were left out by total_files.'],
  certificate: JSON.parse(JSON.stringify(certificate)) as ReportView['certificate'],
  signer: { key_id: key.key_id, public_key: rawPublicKey(key.publicKey).toString('base64') },
};

const shard = (ordinal: number): ShardView => ({
  stage: 'pack',
  ordinal,
  phase: 'done',
  wave: 0,
  weight: 10,
  cas_id: leaf(ordinal).cas,
  attempt: 1,
  failures: 0,
  lease_losses: null,
  reused: ordinal === 0,
  producing_plan_id: ordinal === 0 ? 'older-plan' : null,
  reuse_miss: ordinal === 0 ? null : 'content_changed',
  output: leaf(ordinal).output,
  value: {},
  worker: 'process-1',
  duration_ms: 3,
  error: null,
});

const event = (id: number): EventView => ({
  id: String(id),
  topic: 'hxo.shard.done',
  time: times.started_at,
  plan_id,
  data: { shards: [{ stage: 'pack', ordinal: id }] },
});

/** Answers by HXO's wire shapes, from a script that each test sets. */
export class FakeHxoServer {
  readonly seen: SeenRequest[] = [];
  /** What status answers, one after the other; the last one for ever. */
  statuses: StatusView[] = [submitted_status, succeeded_status];
  events: EventView[] = [event(1), event(2), event(3)];
  readonly artifacts = new Map<string, Buffer>([
    [sha256(manifest), manifest],
    [sha256(packs), packs],
  ]);
  report: ReportView = report;
  ready = true;
  private server: Server | null = null;
  private port = 0;

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Listens; after a `stop`, on the same port as before. */
  async start(): Promise<void> {
    this.server = createServer((request, response) => void this.handle(request, response));
    await new Promise<void>((resolve) => this.server?.listen(this.port, '127.0.0.1', resolve));
    this.port = (this.server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    this.server?.closeAllConnections();
    await new Promise<unknown>((resolve) => (this.server ? this.server.close(resolve) : resolve(null)));
    this.server = null;
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = request;
    const body = await text(request);
    const idempotency_key = headers['idempotency-key'] as string | undefined;
    this.seen.push({ method, url, authorization: headers.authorization, idempotency_key, body });
    const { pathname, searchParams } = new URL(url, this.url);
    const artifact = this.artifacts.get(pathname.replace('/api/hxo/artifacts/', ''));
    if (artifact !== undefined) {
      response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(artifact);
      return;
    }
    const [status, answer] = this.answer(method, pathname, searchParams, headers.authorization, body);
    const type = status < 400 ? 'application/json' : 'application/problem+json';
    response.writeHead(status, { 'content-type': type }).end(JSON.stringify(answer));
  }

  private answer(
    method: string,
    path: string,
    query: URLSearchParams,
    authorization: string | undefined,
    body: string,
  ): [number, unknown] {
    if (method === 'POST' && authorization === undefined)
      return problem(401, 'UNAUTHENTICATED', 'Say who you are.');
    if (method === 'POST' && authorization === 'Captain') return problem(403, 'FORBIDDEN', 'Admirals only.');
    switch (`${method} ${path}`) {
      case 'POST /api/hxo/create-and-submit':
        return submit(body);
      case `GET /api/hxo/status/${plan_id}`:
        return [200, this.statuses.length > 1 ? this.statuses.shift() : this.statuses[0]];
      case `GET /api/hxo/report/${plan_id}`:
        return [200, this.report];
      case `GET /api/hxo/report/${plan_id}/certificate`:
        return [200, certificate];
      case `GET /api/hxo/report/${plan_id}/shards/pack/1/receipt`:
        return [200, receipt];
      case `POST /api/hxo/abort/${plan_id}`:
        return [200, { plan_id, status: 'aborted' }];
      case 'GET /api/hxo/plans':
        return [200, { items: [listed(succeeded_status)], next_cursor: null }];
      case `GET /api/hxo/plans/${plan_id}/shards`:
        return [200, pageOfShards(query)];
      case 'GET /api/hxo/search':
        return [200, pageFound(query)];
      case 'GET /api/genesis/events':
        return [200, this.pageOfEvents(query)];
      case 'GET /health/ready':
        return this.ready ? [200, { status: 'ready' }] : problem(503, 'NOT_READY', 'The disk is full.');
      case 'GET /api/hxo/status/broken':
        return problem(500, 'INTERNAL', 'Look for 4711 in the log.');
      default:
        return problem(404, 'PLAN_NOT_FOUND', `Nothing at ${path}. List plans with GET /api/hxo/plans.`);
    }
  }

  /** Two events a page, so that whoever reads them must turn pages. */
  private pageOfEvents(query: URLSearchParams): unknown {
    const after = Number(query.get('after') ?? 0);
    const later = this.events.filter((each) => Number(each.id) > after);
    const items = later.slice(0, Math.min(2, Number(query.get('limit') ?? 100)));
    return { items, next_cursor: later.length > items.length ? (items.at(-1)?.id ?? null) : null };
  }
}

/** The event after those that the server has from the start. */
export const later_event = event(4);

function submit(body: string): [number, unknown] {
  const plan = JSON.parse(body) as { name: string; stages: { kind: string }[] };
  if (plan.stages[0]?.kind === 'deploy.pack') {
    return [202, { plan_id, name: plan.name, status: 'submitted', total_shards: null }];
  }
  const errors = [{ field: 'stages[0].kind', message: 'must be one of deploy.pack' }];
  return problem(422, 'BLUEPRINT_VIOLATION', 'The plan breaks its contract.', errors);
}

/** One shard a page. */
function pageOfShards(query: URLSearchParams): { items: ShardView[]; next_cursor: string | null } {
  const ordinal = Number(query.get('cursor') ?? 0);
  return { items: [shard(ordinal)], next_cursor: ordinal === 0 ? '1' : null };
}

/** One page for every search but that for "nothing". */
function pageFound(query: URLSearchParams): SearchView {
  const hit = { route: '/guide', title: 'The \u001bguide', path: 'guide.md', matches: [], score: 1.5 };
  const items = query.get('q') === 'nothing' ? [] : [{ ...hit, snippet: 'How to install it' }];
  return { query: query.get('q') ?? '', plan_id, stage: 'docs', total: items.length * 7, items };
}

function listed(status: StatusView): PlanListItem {
  return { ...status, truth_certified: true };
}

function problem(status: number, code: string, detail: string, errors: unknown[] = []): [number, unknown] {
  return [status, { type: `urn:hxo:problem:${code}`, title: code, status, detail, code, errors }];
}

/** Digests of the stage's artifacts, by name. */
export function artifactDigest(name: 'manifest' | 'packs'): Digest {
  return name === 'manifest' ? sha256(manifest) : sha256(packs);
}
