import type { Digest } from '#truth';

/** Redirects that one request follows. */
export const redirects_max = 3;

export interface HttpRequest {
  /** The only methods there are: a priming changes nothing at the far end. */
  readonly method: 'GET' | 'HEAD';
  /** Absolute, http or https, without credentials. */
  readonly url: string;
  /** Time for the whole exchange, redirects and body included, from when its turn has come. */
  readonly timeout_ms: number;
  /** Requests that may be under way to the same origin at once when this one begins. */
  readonly origin_concurrency_max: number;
  readonly signal: AbortSignal;
}

/** An answer whose body has been read to its end, and thrown away. */
export interface HttpAnswer {
  readonly status: number;
  /** As sent, its first 200 characters. */
  readonly etag: string | null;
  /** Bytes of the body as they came over the wire. */
  readonly body_bytes: number;
  /** SHA-256 of those. */
  readonly body_digest: Digest;
  /** Redirects followed on the way to it. */
  readonly redirects: number;
  /** From the first connection to the last byte. */
  readonly latency_ms: number;
}

/**
 * Thrown when a request may not be made, or its answer may not be taken: trying again cannot help. Its shape is
 * FailShard's.
 */
export class HttpRefused extends Error {
  override readonly name = 'HttpRefused';
  readonly verdict = 'fail';
  constructor(
    readonly code:
      | 'URL_NOT_ALLOWED' // not http(s), with credentials, or no URL at all
      | 'HOST_NOT_ALLOWED' // not on the list of hosts
      | 'ADDRESS_NOT_ALLOWED' // its name leads to an address that is not on the list
      | 'TOO_MANY_REDIRECTS'
      | 'ANSWER_TOO_LARGE',
    message: string,
  ) {
    super(message);
  }
}

/** Thrown when no whole answer came: refused, broken off, too slow, headers too large. Its shape is RetryShard's. */
export class HttpFailed extends Error {
  override readonly name = 'HttpFailed';
  readonly verdict = 'retry';
  readonly code = 'HTTP_FAILED';
}

/**
 * A client for URLs that a plan names, which must not reach what the plan's author may not: only hosts that the
 * operator has listed, and addresses that are not public only when they are listed themselves. Both are checked when a
 * connection is made, and on every redirect. It sends neither cookies nor credentials, and throws bodies away.
 *
 * Concurrency: any number of requests; those to one origin take turns. Who retries: nobody here; the engine retries the
 * shard. Throws {@link HttpRefused}, {@link HttpFailed}, or the signal's reason.
 */
export interface HttpClient {
  request(request: HttpRequest): Promise<HttpAnswer>;
}
