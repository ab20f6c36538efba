import { setTimeout as sleep } from 'node:timers/promises';
import type {
  EventView,
  PlanListItem,
  Page,
  ReportView,
  SearchView,
  ShardView,
  StatusView,
  SubmittedView,
} from '#hxo';
import { CommandError, exit_codes, ServerUnreachable, UsageError } from './exit-codes.js';

export interface ClientOptions {
  /** Base URL of the server, without a trailing slash. */
  readonly url: string;
  /** Value of the Authorization header; left out, none is sent. */
  readonly authorization?: string;
  /** Told in one sentence when the server asks to be left alone for a while, which the client then does. */
  readonly note?: (sentence: string) => void;
}

/** Query parameters; undefined ones are left out. */
export type Query = Readonly<Record<string, string | number | undefined>>;

/** What `GET /health/ready` says. */
export interface Readiness {
  /** `disabled`: it answers, but takes no work, because it was told so. */
  readonly status: 'ready' | 'disabled' | 'not ready';
  /** What keeps the server from taking work; empty when ready. */
  readonly detail: string;
}

/** Longest wait for an answer other than an artifact. */
const answer_timeout_ms = 30_000;

/** Most time that one request waits because the server has had too many. */
const too_many_wait_max_ms = 120_000;

/**
 * HXO's HTTP API as methods. A server that has had too many requests is asked again when it says so. Every method throws {@link ServerUnreachable} when no answer came, and
 * {@link CommandError} with the server's `code` and `detail` when it refused or failed.
 */
export class HxoClient {
  readonly url: string;
  private readonly authorization: string | undefined;
  private readonly note: (sentence: string) => void;

  constructor(options: ClientOptions) {
    this.url = options.url;
    this.authorization = options.authorization;
    this.note = options.note ?? (() => undefined);
  }

  /** `plan` is JSON text, sent as it is. */
  createAndSubmit(plan: string, idempotencyKey?: string): Promise<SubmittedView> {
    return this.json('POST', '/api/hxo/create-and-submit', {
      body: plan,
      headers: {
        'content-type': 'application/json',
        ...(idempotencyKey && { 'idempotency-key': idempotencyKey }),
      },
    });
  }

  status(planId: string): Promise<StatusView> {
    return this.json('GET', path`/api/hxo/status/${planId}`);
  }

  report(planId: string): Promise<ReportView> {
    return this.json('GET', path`/api/hxo/report/${planId}`);
  }

  abort(planId: string): Promise<{ plan_id: string; status: string }> {
    return this.json('POST', path`/api/hxo/abort/${planId}`);
  }

  /** The DSSE envelope. */
  certificate(planId: string): Promise<unknown> {
    return this.json('GET', path`/api/hxo/report/${planId}/certificate`);
  }

  receipt(planId: string, stage: string, ordinal: number): Promise<unknown> {
    return this.json('GET', path`/api/hxo/report/${planId}/shards/${stage}/${String(ordinal)}/receipt`);
  }

  plans(query: Query): Promise<Page<PlanListItem>> {
    return this.json('GET', withQuery('/api/hxo/plans', query));
  }

  shards(planId: string, query: Query): Promise<Page<ShardView>> {
    return this.json('GET', withQuery(path`/api/hxo/plans/${planId}/shards`, query));
  }

  /** What the registry cache knows of a module. Its slashes are slashes of the path. */
  registry(module: string): Promise<unknown> {
    return this.json('GET', `/api/hxo/registry/${module.split('/').map(segment).join('/')}`);
  }

  search(query: Query): Promise<SearchView> {
    return this.json('GET', withQuery('/api/hxo/search', query));
  }

  events(query: Query): Promise<Page<EventView>> {
    return this.json('GET', withQuery('/api/genesis/events', query));
  }

  /**
   * The bytes of an artifact, as they arrive. Take them without long pauses: a server takes a connection back that stands
   * still at the end of an answer. Reading throws {@link ServerUnreachable} when the answer breaks off.
   */
  async artifact(digest: string): Promise<AsyncIterable<Uint8Array>> {
    const response = await this.request('GET', path`/api/hxo/artifacts/${digest}`);
    if (!response.ok) throw await this.refusal(response);
    return this.bytes(response);
  }

  async readiness(): Promise<Readiness> {
    const response = await this.request('GET', '/health/ready', { timeout_ms: answer_timeout_ms });
    if (!response.ok) return { status: 'not ready', detail: (await this.refusal(response)).message };
    const { status, detail = '' } = (await response.json()) as { status: string; detail?: string };
    return { status: status === 'disabled' ? status : 'ready', detail };
  }

  private async json<Answer>(
    method: string,
    pathAndQuery: string,
    init: { body?: string; headers?: Record<string, string> } = {},
  ): Promise<Answer> {
    const response = await this.request(method, pathAndQuery, { ...init, timeout_ms: answer_timeout_ms });
    if (!response.ok) throw await this.refusal(response);
    const text = await this.text(response);
    try {
      return JSON.parse(text) as Answer;
    } catch {
      throw notHxo(this.url, `${method} ${pathAndQuery} answered ${response.status} without JSON`);
    }
  }

  /** Sends a request, again after the time that a 429 asks for, which refuses before anything is done. */
  private async request(method: string, pathAndQuery: string, init: RequestOptions = {}): Promise<Response> {
    for (let waited_ms = 0; ;) {
      const response = await this.send(method, pathAndQuery, init);
      const wait_ms = response.status === 429 ? retryAfter_ms(response) : null;
      if (wait_ms === null || waited_ms + wait_ms > too_many_wait_max_ms) return response;
      await response.body?.cancel();
      this.note(
        `The server has had too many requests from here. Trying again in ${Math.ceil(wait_ms / 1000)} s.`,
      );
      await sleep(wait_ms);
      waited_ms += wait_ms;
    }
  }

  private async send(method: string, pathAndQuery: string, init: RequestOptions): Promise<Response> {
    try {
      return await fetch(this.url + pathAndQuery, {
        method,
        body: init.body,
        redirect: 'error',
        signal: init.timeout_ms === undefined ? undefined : AbortSignal.timeout(init.timeout_ms),
        headers: {
          accept: 'application/json, application/problem+json, application/octet-stream',
          ...(this.authorization && { authorization: this.authorization }),
          ...init.headers,
        },
      });
    } catch (error) {
      throw new ServerUnreachable(this.url, reasonOf(error));
    }
  }

  private async *bytes(response: Response): AsyncGenerator<Uint8Array> {
    try {
      if (response.body !== null) yield* response.body;
    } catch (error) {
      throw new ServerUnreachable(this.url, reasonOf(error));
    }
  }

  /** A body can break off like a connection can be refused: both mean that no whole answer came. */
  private async text(response: Response): Promise<string> {
    try {
      return await response.text();
    } catch (error) {
      throw new ServerUnreachable(this.url, reasonOf(error));
    }
  }

  /** The error that a problem+json answer (RFC 9457) tells of. */
  private async refusal(response: Response): Promise<CommandError> {
    const problem = parseProblem(await this.text(response));
    if (problem === null) {
      return notHxo(this.url, `the server answered ${response.status} without saying why`, response.status);
    }
    const hint =
      response.status === 401 || response.status === 403
        ? ' (This command speaks for --role, or with --token or HXO_TOKEN.)'
        : '';
    return new CommandError(exitCodeOf(response.status), problem.code, problem.detail + hint, problem.errors);
  }
}

/** The whole list behind a paged route, at most `limit` items; `next_cursor` tells whether there are more. */
export async function collectPages<Item>(
  page: (query: Query) => Promise<Page<Item>>,
  limit: number,
): Promise<Page<Item>> {
  const items: Item[] = [];
  let cursor: string | null = null;
  do {
    const next: Page<Item> = await page({
      cursor: cursor ?? undefined,
      limit: Math.min(limit - items.length, 1000),
    });
    items.push(...next.items);
    cursor = next.next_cursor;
  } while (cursor !== null && items.length < limit);
  return { items, next_cursor: cursor };
}

interface RequestOptions {
  readonly body?: string;
  readonly headers?: Record<string, string>;
  readonly timeout_ms?: number;
}

/** What Retry-After asks for (RFC 9110, 10.2.3: whole seconds, or a date), but at least a second. */
function retryAfter_ms(response: Response): number {
  const value = response.headers.get('retry-after') ?? '';
  const asked_ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Math.max(1000, Number.isNaN(asked_ms) ? 0 : asked_ms);
}

interface ProblemDocument {
  readonly code: string;
  readonly detail: string;
  readonly errors: readonly { readonly field: string; readonly message: string }[];
}

function parseProblem(text: string): ProblemDocument | null {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return null;
  }
  const problem = body as { code?: unknown; detail?: unknown; title?: unknown; errors?: unknown } | null;
  if (typeof problem?.code !== 'string') return null;
  const detail =
    [problem.detail, problem.title].find((words) => typeof words === 'string') ?? 'no detail given';
  return {
    code: problem.code,
    detail: String(detail),
    errors: Array.isArray(problem.errors) ? (problem.errors as ProblemDocument['errors']) : [],
  };
}

function exitCodeOf(status: number): CommandError['exit_code'] {
  return status >= 500 ? exit_codes.server_error : exit_codes.refused;
}

function notHxo(url: string, what: string, status = 500): CommandError {
  return new CommandError(exitCodeOf(status), 'UNEXPECTED_ANSWER', `${what}. Is ${url} an HXO server?`);
}

/** Node says only "fetch failed"; what happened is in the cause, or in the causes of the addresses it tried. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return `no answer within ${answer_timeout_ms / 1000} s`;
  const { cause } = error;
  if (cause instanceof AggregateError && cause.errors.length > 0) return reasonOf(cause.errors[0]);
  return cause instanceof Error ? reasonOf(cause) : error.message;
}

/** A path whose values cannot break out of their segment. */
function path(strings: TemplateStringsArray, ...values: readonly string[]): string {
  return String.raw({ raw: strings }, ...values.map(segment));
}

function segment(value: string): string {
  // URL parsers drop `.` and `..` even when they are the whole value, which would name another route.
  if (value === '' || value === '.' || value === '..') throw new UsageError(`"${value}" names nothing.`);
  return encodeURIComponent(value);
}

function withQuery(route: string, query: Query): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(name, String(value));
  }
  return parameters.size > 0 ? `${route}?${parameters.toString()}` : route;
}
