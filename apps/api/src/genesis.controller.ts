import { Controller, Get, Query, Req } from '@nestjs/common';
import { Hxo, type EventView, type Page } from '#hxo';
import { Anyone, PermissionGuard, type GuardedRequest } from '#permission';
import { EventsQueryDto, withLimit } from './query.dto.js';
import { Validated } from './validated.pipe.js';

@Controller('api/genesis')
export class GenesisController {
  constructor(
    private readonly hxo: Hxo,
    private readonly guard: PermissionGuard,
  ) {}

  /** Events, oldest first. Audit events are shown to those who may read the audit trail, and asked for by them only. */
  @Get('events')
  @Anyone()
  async events(
    @Query(new Validated(EventsQueryDto, 'INVALID_QUERY')) query: EventsQueryDto,
    @Req() request: GuardedRequest,
  ): Promise<Page<EventView>> {
    if (query.topic === 'hxo.audit') await this.guard.admit(request, 'hxo:audit');
    return this.hxo.events({ ...withLimit(query), without_audit: !this.guard.has(request, 'hxo:audit') });
  }
}
