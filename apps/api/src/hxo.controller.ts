import { pipeline } from 'node:stream/promises';
import {
  Body,
  Controller,
  Get,
  Headers,
  HttpCode,
  Logger,
  Param,
  Post,
  Query,
  Req,
  Res,
  UseInterceptors,
} from '@nestjs/common';
import type { Request, Response } from 'express';
import { Hxo, HxoError } from '#hxo';
import type {
  Actor,
  AuditView,
  Page,
  PlanListItem,
  ReportView,
  SearchView,
  ShardView,
  StatusView,
  SubmittedView,
} from '#hxo';
import { Anyone, Needs, type GuardedRequest } from '#permission';
import { isDigest, type Json } from '#truth';
import { JsonBody } from './json-body.interceptor.js';
import { PlanDto, SubmitDto } from './plan.dto.js';
import { HttpError } from './problem.js';
import { PageQueryDto, PlansQueryDto, SearchQueryDto, ShardsQueryDto, withLimit } from './query.dto.js';
import { Validated } from './validated.pipe.js';

/** HXO over HTTP: each route is one method of {@link Hxo}. */
@Controller('api/hxo')
export class HxoController {
  private readonly logger = new Logger('HTTP');

  constructor(private readonly hxo: Hxo) {}

  @Post('create-and-submit')
  @Needs('hxo:submit')
  @HttpCode(202)
  @UseInterceptors(JsonBody)
  createAndSubmit(
    @Body(new Validated(PlanDto, 'INVALID_PLAN')) plan: Json,
    @Req() request: GuardedRequest,
    @Headers('idempotency-key') key?: string,
  ): Promise<SubmittedView> {
    if (key !== undefined && !/^[\x21-\x7e]{1,200}$/.test(key)) {
      throw new HttpError(
        'INVALID_HEADER',
        'Idempotency-Key must be 1 to 200 visible ASCII characters, sent once.',
      );
    }
    return this.hxo.createAndSubmit(
      plan,
      actorOf(request),
      key === undefined ? {} : { idempotency_key: key },
    );
  }

  @Post('plan')
  @Needs('hxo:plan')
  @HttpCode(201)
  @UseInterceptors(JsonBody)
  create(
    @Body(new Validated(PlanDto, 'INVALID_PLAN')) plan: Json,
    @Req() request: GuardedRequest,
  ): Promise<{ readonly plan_id: string }> {
    return this.hxo.create(plan, actorOf(request));
  }

  @Post('submit')
  @Needs('hxo:submit')
  @HttpCode(202)
  @UseInterceptors(JsonBody)
  submit(
    @Body(new Validated(SubmitDto, 'INVALID_PLAN')) body: SubmitDto,
    @Req() request: GuardedRequest,
  ): Promise<SubmittedView> {
    return this.hxo.submit(body.plan_id, actorOf(request));
  }

  @Post('abort/:plan_id')
  @Needs('hxo:abort')
  @HttpCode(200)
  abort(
    @Param('plan_id') plan_id: string,
    @Req() request: GuardedRequest,
  ): Promise<{ readonly plan_id: string; readonly status: 'aborted' }> {
    return this.hxo.abort(plan_id, actorOf(request));
  }

  @Get('status/:plan_id')
  @Anyone()
  status(@Param('plan_id') plan_id: string): Promise<StatusView> {
    return this.hxo.status(plan_id);
  }

  @Get('report/:plan_id')
  @Anyone()
  report(@Param('plan_id') plan_id: string): Promise<ReportView> {
    return this.hxo.report(plan_id);
  }

  @Get('report/:plan_id/certificate')
  @Anyone()
  certificate(@Param('plan_id') plan_id: string): Promise<Json> {
    return this.hxo.certificate(plan_id);
  }

  @Get('report/:plan_id/shards/:stage/:ordinal/receipt')
  @Anyone()
  receipt(
    @Param('plan_id') plan_id: string,
    @Param('stage') stage: string,
    @Param('ordinal') ordinal: string,
  ): Promise<Json> {
    if (!/^(?:0|[1-9]\d{0,9})$/.test(ordinal)) {
      throw new HxoError('SHARD_NOT_FOUND', 'A shard is named by its ordinal, a whole number from 0.');
    }
    return this.hxo.receipt(plan_id, stage, Number(ordinal));
  }

  @Get('plans')
  @Needs('hxo:view')
  plans(
    @Query(new Validated(PlansQueryDto, 'INVALID_QUERY')) query: PlansQueryDto,
  ): Promise<Page<PlanListItem>> {
    return this.hxo.plans(withLimit(query));
  }

  @Get('plans/:plan_id/shards')
  @Needs('hxo:view')
  shards(
    @Param('plan_id') plan_id: string,
    @Query(new Validated(ShardsQueryDto, 'INVALID_QUERY')) query: ShardsQueryDto,
  ): Promise<Page<ShardView>> {
    return this.hxo.shards(plan_id, withLimit(query));
  }

  @Get('audit')
  @Needs('hxo:audit')
  audit(@Query(new Validated(PageQueryDto, 'INVALID_QUERY')) query: PageQueryDto): Promise<Page<AuditView>> {
    return this.hxo.audit(withLimit(query));
  }

  /** Modules are named as they are, slashes included: `/api/hxo/registry/@scope/name`. */
  @Get('registry/*module')
  @Needs('hxo:view')
  registryEntry(@Param('module') module: readonly string[]): Promise<Json> {
    return this.hxo.registryEntry(module.join('/'));
  }

  @Get('search')
  @Needs('hxo:view')
  search(@Query(new Validated(SearchQueryDto, 'INVALID_QUERY')) query: SearchQueryDto): Promise<SearchView> {
    const { q, ...rest } = withLimit(query);
    return this.hxo.search({ query: q, ...rest });
  }

  /** The bytes under a digest. They never change, so the digest is their ETag. */
  @Get('artifacts/:digest')
  @Needs('hxo:view')
  async artifact(
    @Param('digest') digest: string,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    if (!isDigest(digest)) {
      throw new HxoError(
        'ARTIFACT_NOT_FOUND',
        'An artifact is named by its SHA-256: 64 lower-case hex digits.',
      );
    }
    const { bytes, stream } = await this.hxo.artifact(digest);
    response.set({
      'Content-Type': 'application/octet-stream',
      'Content-Length': String(bytes),
      'Content-Disposition': 'attachment',
      ETag: `"${digest}"`,
    });
    if (request.method === 'HEAD' || request.fresh) {
      stream.destroy();
      if (request.fresh) response.status(304).removeHeader('Content-Length');
      response.end();
      return;
    }
    try {
      await pipeline(stream, response);
    } catch (error) {
      // The caller left, or the bytes could not be read: the length that was announced tells them which.
      if (!request.destroyed) this.logger.error(`[HXO] Artifact ${digest} was cut short: ${String(error)}`);
    }
  }
}

function actorOf(request: GuardedRequest): Actor {
  return { role: request.role ?? 'anonymous' };
}
