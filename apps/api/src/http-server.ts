import type { NestExpressApplication } from '@nestjs/platform-express';
import type { NextFunction, Request, Response } from 'express';
import { DenialRecorder, isLoopback, PermissionGuard } from '#permission';
import type { HttpOptions } from './http-options.js';
import { answerClientErrors } from './client-errors.js';
import { HttpError } from './problem.js';
import { ProblemFilter } from './problem.filter.js';
import { isForThisHost, pathFault, uri_length_max } from './request-checks.js';
import { burst_requests, RequestRate, requests_per_s } from './request-rate.js';
import { routesOf, type Route } from './routes.js';

export type { HttpOptions };

/**
 * Makes an application that was created with `bodyParser: false` ready to listen: what every request passes before
 * it reaches a route, and how errors are answered. Call it before `listen`.
 */
export function configureHttp(app: NestExpressApplication, options: HttpOptions): void {
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', 'simple');
  app.use(checkTarget);
  if (isLoopback(options.host)) app.use(checkHost(app.get(DenialRecorder), options.host));
  else app.use(limitRate());
  app.use(checkRoute(app));
  app.useGlobalFilters(new ProblemFilter());
  answerClientErrors(app.getHttpServer());
}

function checkTarget(request: Request, response: Response, next: NextFunction): void {
  response.set('X-Content-Type-Options', 'nosniff');
  if (request.originalUrl.length > uri_length_max) {
    throw new HttpError('URI_TOO_LONG', `The request target is longer than ${uri_length_max} characters.`);
  }
  if (request.headers.host === undefined && request.httpVersion === '1.1') {
    throw new HttpError('MALFORMED_REQUEST', 'The request has no Host header. HTTP/1.1 wants one.');
  }
  const fault = pathFault(request.originalUrl.split('?', 1)[0] ?? '');
  if (fault !== null) throw new HttpError('MALFORMED_PATH', fault);
  next();
}

function checkHost(recorder: DenialRecorder, host: string) {
  return async (request: Request, _response: Response, next: NextFunction): Promise<void> => {
    if (isForThisHost(request.rawHeaders, host)) return next();
    const reason = 'The Host or Origin header names another server. Call HXO by localhost or its address.';
    await recorder
      .recordDenial({ role: 'anonymous', method: request.method, route: request.path, reason })
      // The caller is refused whether or not that can be written down.
      .catch(() => {});
    throw new HttpError('HOST_NOT_ALLOWED', reason);
  };
}

/** Holds back addresses that flood the server. */
function limitRate() {
  const rate = new RequestRate();
  return (request: Request, _response: Response, next: NextFunction): void => {
    const wait_s = rate.take(request.socket.remoteAddress ?? '', performance.now());
    if (wait_s === 0) return next();
    const detail = `An address may send ${requests_per_s} requests a second, ${burst_requests} at once. Send fewer.`;
    throw new HttpError('TOO_MANY_REQUESTS', detail, [], { 'Retry-After': String(wait_s) });
  };
}

/** Answers what no route would: 404, 405 with Allow, and OPTIONS for those who may call a route of that path. */
function checkRoute(app: NestExpressApplication) {
  let routes: Route[] | undefined;
  return async (request: Request, response: Response, next: NextFunction): Promise<void> => {
    // The router is filled when the application starts, after this was installed.
    routes ??= routesOf(app);
    const here = routes.filter((route) => route.matches(request.path));
    const [first] = here;
    if (first === undefined) {
      throw new HttpError('ROUTE_NOT_FOUND', 'HXO has no such path. README.md lists those that it has.');
    }
    const allowed = allowedMethods(here);
    if (request.method === 'OPTIONS') {
      await app.get(PermissionGuard).admit(request, first.need);
      response.status(204).set('Allow', allowed.join(', ')).end();
    } else if (allowed.includes(request.method)) {
      next();
    } else {
      const detail = `${request.path} takes ${allowed.join(', ')}, not ${request.method}.`;
      throw new HttpError('METHOD_NOT_ALLOWED', detail, [], { Allow: allowed.join(', ') });
    }
  };
}

function allowedMethods(routes: readonly Route[]): string[] {
  const methods = new Set(routes.map((route) => route.method));
  if (methods.has('GET')) methods.add('HEAD');
  return [...methods, 'OPTIONS'];
}
