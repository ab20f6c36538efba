import { lookup as lookupByOs, type LookupAddress } from 'node:dns';
import http, { type IncomingMessage, type RequestOptions } from 'node:http';
import https from 'node:https';
import type { LookupFunction } from 'node:net';
import {
  HttpFailed,
  HttpRefused,
  redirects_max,
  sha256Stream,
  type HttpAnswer,
  type HttpClient,
  type HttpRequest,
} from '#hxo/execute';
import { Deadline } from './deadline.js';
import { HostRules, type HostRule } from './host-rules.js';
import { OriginTurns } from './turns.js';
import { checkedUrl, hostOf, portOf, shown } from './urls.js';

const header_bytes_max = 16_384;
const etag_chars_max = 200;
const redirect_statuses = new Set([301, 302, 303, 307, 308]);

/** What is sent, and nothing else: what a browser would say that decides which variant a cache keeps. */
const headers = { accept: '*/*', 'accept-encoding': 'gzip, br', 'user-agent': 'HXO prime_caches' };

/** All addresses of a name. */
export type Resolver = (host: string) => Promise<readonly LookupAddress[]>;

export interface HttpClientOptions {
  /** Who may be asked; empty is nobody. */
  readonly allowed: readonly HostRule[];
  /** Longest body that is read. */
  readonly body_bytes_max?: number;
  /** Left out: the operating system's. */
  readonly resolve?: Resolver;
}

/** {@link HttpClient} over node:http and node:https. Redirects are followed here, each as a request of its own. */
export function createHttpClient(options: HttpClientOptions): HttpClient {
  const rules = new HostRules(options.allowed);
  const turns = new OriginTurns();
  const body_bytes_max = options.body_bytes_max ?? 64 * 1024 * 1024;
  const lookup = guardedLookup(rules, options.resolve ?? resolveByOs);
  const agent_options = { keepAlive: true, maxFreeSockets: 8, timeout: 30_000 };
  const transports = {
    'http:': { send: http.request, agent: new http.Agent(agent_options) },
    'https:': { send: https.request, agent: new https.Agent(agent_options) },
  };

  async function request(asked: HttpRequest): Promise<HttpAnswer> {
    const deadline = new Deadline(asked.signal);
    try {
      return await follow(asked, deadline);
    } finally {
      deadline.clear();
    }
  }

  async function follow(asked: HttpRequest, deadline: Deadline): Promise<HttpAnswer> {
    let url = checkedUrl(asked.url, null, rules);
    let begun = 0;
    for (let redirects = 0; ; redirects++) {
      const target = url;
      const answer = await turns
        .run(target.origin, asked.origin_concurrency_max, deadline.signal, async () => {
          if (redirects === 0) {
            begun = performance.now();
            deadline.start(asked.timeout_ms);
          }
          return exchange(asked.method, target, deadline.signal);
        })
        .catch((error: unknown) => {
          throw told(error, asked, target);
        });
      if (answer.location === null) {
        const { status, etag, body_bytes, body_digest } = answer;
        const latency_ms = Math.round(performance.now() - begun);
        return { status, etag, body_bytes, body_digest, redirects, latency_ms };
      }
      if (redirects === redirects_max) {
        const message = `${shown(asked.url)} redirects more than ${redirects_max} times.`;
        throw new HttpRefused('TOO_MANY_REDIRECTS', message);
      }
      url = checkedUrl(answer.location, target, rules);
    }
  }

  /** One request, its answer read to the end. */
  function exchange(method: 'GET' | 'HEAD', url: URL, signal: AbortSignal): Promise<WholeAnswer> {
    const { send, agent } = transports[url.protocol as 'http:' | 'https:'];
    const port = portOf(url);
    const request_options: RequestOptions = {
      ...{ method, agent, headers, signal, lookup: lookup(port) },
      ...{ host: hostOf(url), port, path: url.pathname + url.search },
      ...{ maxHeaderSize: header_bytes_max },
    };
    return new Promise((resolve, reject) => {
      let answered = false;
      const sent = send(request_options, (response) => {
        answered = true;
        readAnswer(response, body_bytes_max).then(resolve, (error: Error) => {
          sent.destroy();
          reject(error);
        });
      });
      sent.on('error', (error: NodeJS.ErrnoException) => {
        // The far end closed a connection that it had kept open, just as it was used again.
        const stale = sent.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
        if (stale && !answered) resolve(exchange(method, url, signal));
        else reject(error);
      });
      sent.on('upgrade', (_, socket) => {
        socket.destroy();
        reject(new Error('it switches protocols'));
      });
      sent.end();
    });
  }

  return { request };
}

interface WholeAnswer extends Pick<HttpAnswer, 'status' | 'etag' | 'body_bytes' | 'body_digest'> {
  /** Where it redirects to, or null. */
  readonly location: string | null;
}

async function readAnswer(response: IncomingMessage, body_bytes_max: number): Promise<WholeAnswer> {
  const { statusCode: status = 0, headers } = response;
  const hash = sha256Stream();
  let body_bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    body_bytes += chunk.length;
    if (body_bytes > body_bytes_max) {
      const message = `Its answer is longer than ${body_bytes_max} bytes.`;
      throw new HttpRefused('ANSWER_TOO_LARGE', message);
    }
    hash.update(chunk);
  }
  const redirects = redirect_statuses.has(status) && headers.location !== undefined;
  return {
    status,
    etag: headers.etag?.slice(0, etag_chars_max) ?? null,
    body_bytes,
    body_digest: hash.digest(),
    location: redirects ? headers.location! : null,
  };
}

/**
 * Resolves a name when a connection to it is made, and hands on those addresses only that may be asked: what was checked
 * is what is connected to.
 */
function guardedLookup(rules: HostRules, resolve: Resolver): (port: number) => LookupFunction {
  return (port) =>
    (host, { all }, done) => {
      resolve(host).then(
        (addresses) => {
          const allowed = addresses.filter(({ address }) => rules.allowsAddress(host, address, port));
          const [first] = allowed;
          if (first === undefined) done(refusedAddress(host, addresses), '', 4);
          else if (all === true) done(null, allowed);
          else done(null, first.address, first.family);
        },
        (error: NodeJS.ErrnoException) => done(error, '', 4),
      );
    };
}

function refusedAddress(host: string, addresses: readonly LookupAddress[]): HttpRefused {
  const named = addresses.slice(0, 4).map(({ address }) => address).join(', '); // prettier-ignore
  return new HttpRefused(
    'ADDRESS_NOT_ALLOWED',
    `${host} leads to ${named || 'no address'}, which is not public. If it is meant, add the address to HXO_PRIME_ALLOWED_HOSTS.`,
  );
}

function resolveByOs(host: string): Promise<readonly LookupAddress[]> {
  return new Promise((resolve, reject) => {
    lookupByOs(host, { all: true, verbatim: true }, (error, addresses) =>
      error === null ? resolve(addresses) : reject(error),
    );
  });
}

/** An error as executors are told of it. */
function told(error: unknown, { signal, timeout_ms }: HttpRequest, url: URL): unknown {
  if (error instanceof HttpRefused || signal.aborted) return signal.aborted ? signal.reason : error;
  const { name, message, code } = error as NodeJS.ErrnoException;
  const late = name === 'TimeoutError' || name === 'AbortError';
  const why = late ? `no whole answer within ${timeout_ms} ms` : message || code || 'unknown trouble';
  return new HttpFailed(`${shown(url.href)} did not answer: ${why}.`, { cause: error });
}
