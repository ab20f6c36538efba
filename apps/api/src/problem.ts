import { STATUS_CODES } from 'node:http';
import { HttpException } from '@nestjs/common';
import { HxoError, RowUnreadable, type FieldError, type HxoErrorCode } from '#hxo';
import { AccessDenied } from '#permission';

/** Error codes of HTTP itself; those of HXO are {@link HxoErrorCode}. */
export type HttpErrorCode =
  | 'MALFORMED_REQUEST'
  | 'MALFORMED_PATH'
  | 'MALFORMED_JSON'
  | 'INVALID_HEADER'
  | 'UNAUTHENTICATED'
  | 'HOST_NOT_ALLOWED'
  | 'ROUTE_NOT_FOUND'
  | 'METHOD_NOT_ALLOWED'
  | 'REQUEST_TIMEOUT'
  | 'BODY_TOO_LARGE'
  | 'URI_TOO_LONG'
  | 'UNSUPPORTED_MEDIA_TYPE'
  | 'TOO_MANY_REQUESTS'
  | 'HEADERS_TOO_LARGE'
  | 'INTERNAL_ERROR'
  | 'NOT_READY';

export type ProblemCode = HxoErrorCode | HttpErrorCode;

/** The one place where a code gets its HTTP status: a new code does not compile without one. */
const statuses: { readonly [Code in ProblemCode]: number } = {
  MALFORMED_REQUEST: 400,
  MALFORMED_PATH: 400,
  MALFORMED_JSON: 400,
  INVALID_HEADER: 400,
  INVALID_PLAN: 400,
  INVALID_QUERY: 400,
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  HOST_NOT_ALLOWED: 403,
  ROUTE_NOT_FOUND: 404,
  PLAN_NOT_FOUND: 404,
  STAGE_NOT_FOUND: 404,
  SHARD_NOT_FOUND: 404,
  ARTIFACT_NOT_FOUND: 404,
  REGISTRY_ENTRY_NOT_FOUND: 404,
  INDEX_NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  REQUEST_TIMEOUT: 408,
  PLAN_FINISHED: 409,
  PLAN_ALREADY_SUBMITTED: 409,
  PLAN_NOT_FINISHED: 409,
  NOT_CERTIFIED: 409,
  BODY_TOO_LARGE: 413,
  URI_TOO_LONG: 414,
  UNSUPPORTED_MEDIA_TYPE: 415,
  BLUEPRINT_VIOLATION: 422,
  NOT_IN_THIS_BUILD: 422,
  IDEMPOTENCY_KEY_REUSED: 422,
  TOO_MANY_REQUESTS: 429,
  HEADERS_TOO_LARGE: 431,
  INTERNAL_ERROR: 500,
  HXO_DISABLED: 503,
  STORE_UNAVAILABLE: 503,
  CACHE_UNAVAILABLE: 503,
  NOT_READY: 503,
};

/** What a caller is told to wait after a 503. */
const retry_after_s = 5;

type Headers = Readonly<Record<string, string>>;

/** Thrown when the request is wrong as HTTP, before HXO is asked. The message says what to do. */
export class HttpError extends Error {
  override readonly name = 'HttpError';
  constructor(
    readonly code: HttpErrorCode,
    message: string,
    readonly errors: readonly FieldError[] = [],
    readonly headers: Headers = {},
  ) {
    super(message);
  }
}

/** The body of an error answer: RFC 9457, application/problem+json. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** Path of the request. */
  readonly instance: string;
  readonly code: ProblemCode;
  readonly errors: readonly FieldError[];
  /** Of an unexpected error only: the same id stands in the log, with what really happened. */
  readonly correlation_id?: string;
}

export interface ProblemAnswer {
  readonly headers: Headers;
  readonly problem: Problem;
}

/**
 * The answer to an error, or null for an error that nobody expected: such a one must not be shown, see
 * {@link internalProblem}.
 */
export function problemOf(error: unknown, instance: string): ProblemAnswer | null {
  if (error instanceof HxoError) return answer(error.code, error.message, instance, error.errors);
  if (error instanceof HttpError) {
    return answer(error.code, error.message, instance, error.errors, error.headers);
  }
  if (error instanceof AccessDenied) {
    const headers: Headers = error.code === 'UNAUTHENTICATED' ? { 'WWW-Authenticate': error.challenge } : {};
    return answer(error.code, error.message, instance, [], headers);
  }
  // It may be met wherever something is read, half way through an answer too.
  if (error instanceof RowUnreadable) return answer('STORE_UNAVAILABLE', error.message, instance);
  // Of the framework's own errors only those that blame the request are known; its texts are not shown.
  if (error instanceof HttpException && error.getStatus() < 500) {
    return answer('MALFORMED_REQUEST', 'The request cannot be read. Check its path and headers.', instance);
  }
  return null;
}

/** The answer to an error that nobody expected: it says nothing but where to look. */
export function internalProblem(instance: string, correlation_id: string): ProblemAnswer {
  const detail = `HXO failed unexpectedly. Look for ${correlation_id} in logs/app.log, and report it.`;
  const { headers, problem } = answer('INTERNAL_ERROR', detail, instance);
  return { headers, problem: { ...problem, correlation_id } };
}

function answer(
  code: ProblemCode,
  detail: string,
  instance: string,
  errors: readonly FieldError[] = [],
  headers: Headers = {},
): ProblemAnswer {
  const status = statuses[code];
  return {
    headers: status === 503 ? { 'Retry-After': String(retry_after_s), ...headers } : headers,
    problem: {
      type: `urn:hxo:problem:${code}`,
      title: STATUS_CODES[status] ?? 'Error',
      status,
      detail,
      instance,
      code,
      errors,
    },
  };
}
