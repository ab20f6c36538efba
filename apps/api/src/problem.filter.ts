import { randomUUID } from 'node:crypto';
import { Catch, Logger, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import type { Request, Response } from 'express';
import { internalProblem, problemOf } from './problem.js';

/** Answers every error of the application with problem+json. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  private readonly logger = new Logger('HTTP');

  catch(error: unknown, host: ArgumentsHost): void {
    const request = host.switchToHttp().getRequest<Request>();
    const response = host.switchToHttp().getResponse<Response>();
    const instance = request.originalUrl.split('?', 1)[0] ?? '/';
    const { headers, problem } =
      problemOf(error, instance) ?? this.unexpected(error, request.method, instance);
    if (response.headersSent) {
      // The answer has begun: cutting the connection is the only way left to say that it is not whole.
      response.destroy();
      return;
    }
    response
      .status(problem.status)
      .set(headers)
      .type('application/problem+json')
      .send(JSON.stringify(problem));
  }

  private unexpected(error: unknown, method: string, instance: string): ReturnType<typeof internalProblem> {
    const id = randomUUID();
    const trace = error instanceof Error ? error.stack : String(error);
    this.logger.error(`[HXO] ${id} ${method} ${instance} failed unexpectedly: ${trace}`);
    return internalProblem(instance, id);
  }
}
