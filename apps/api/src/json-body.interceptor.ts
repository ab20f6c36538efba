import {
  Inject,
  Injectable,
  type CallHandler,
  type ExecutionContext,
  type NestInterceptor,
} from '@nestjs/common';
import { MIMEType } from 'node:util';
import express, { type Request, type Response } from 'express';
import type { Observable } from 'rxjs';
import { parseStrictJson, StrictJsonError, type Json } from '#truth';
import { HTTP_OPTIONS, type HttpOptions } from './http-options.js';
import { HttpError } from './problem.js';

/**
 * Reads the JSON body of a request into `request.body`. An interceptor, because those run after the guard: nothing is
 * read from a caller who may not send it.
 */
@Injectable()
export class JsonBody implements NestInterceptor {
  private readonly readRaw: ReturnType<typeof express.raw>;

  constructor(@Inject(HTTP_OPTIONS) private readonly options: HttpOptions) {
    this.readRaw = express.raw({ type: () => true, limit: options.body_limit_bytes, inflate: false });
  }

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const request = context.switchToHttp().getRequest<Request>();
    requireJson(request.headers['content-type']);
    const bytes = await this.read(request, context.switchToHttp().getResponse<Response>());
    request.body = decodeJson(bytes);
    return next.handle();
  }

  private read(request: Request, response: Response): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.readRaw(request, response, (error?: Error | string) => {
        if (error !== undefined) reject(this.refusal(error));
        else resolve(request.body instanceof Uint8Array ? request.body : new Uint8Array());
      });
    });
  }

  /** The errors of body-parser, by their documented `type`. */
  private refusal(error: Error | string): Error {
    if (typeof error === 'string') return new Error(error);
    switch ('type' in error ? error.type : undefined) {
      case 'entity.too.large':
        return new HttpError(
          'BODY_TOO_LARGE',
          `The body is larger than ${this.options.body_limit_bytes} bytes. Send a smaller plan, or raise the limit.`,
        );
      case 'encoding.unsupported':
        return new HttpError('UNSUPPORTED_MEDIA_TYPE', 'Send the body without Content-Encoding.');
      case 'request.aborted':
      case 'request.size.invalid':
        return new HttpError(
          'MALFORMED_REQUEST',
          'The body ended before its announced length. Send it again.',
        );
      default:
        return error;
    }
  }
}

function requireJson(contentType: string | undefined): void {
  let type: MIMEType;
  try {
    type = new MIMEType(contentType ?? '');
  } catch {
    throw unsupported();
  }
  const charset = type.params.get('charset')?.toLowerCase() ?? 'utf-8';
  if (type.essence !== 'application/json' || charset !== 'utf-8') throw unsupported();
}

function unsupported(): HttpError {
  return new HttpError(
    'UNSUPPORTED_MEDIA_TYPE',
    'Send JSON in UTF-8 with "Content-Type: application/json".',
    [],
    {
      Accept: 'application/json',
    },
  );
}

function decodeJson(bytes: Uint8Array): Json {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new HttpError('MALFORMED_JSON', 'The body is not UTF-8. JSON travels in UTF-8 only.');
  }
  try {
    return parseStrictJson(text);
  } catch (error) {
    if (error instanceof StrictJsonError) throw new HttpError('MALFORMED_JSON', error.message, error.errors);
    throw error;
  }
}
