import { Controller, Get, Inject } from '@nestjs/common';
import { Hxo } from '#hxo';
import { Public } from '#permission';
import { HTTP_OPTIONS, type HttpOptions } from './http-options.js';
import { HttpError } from './problem.js';

/** For whoever watches over the process. */
@Controller('health')
export class HealthController {
  constructor(
    private readonly hxo: Hxo,
    @Inject(HTTP_OPTIONS) private readonly options: HttpOptions,
  ) {}

  /** The process answers. */
  @Get('live')
  @Public()
  live(): { readonly status: 'live' } {
    return { status: 'live' };
  }

  /**
   * HXO takes work now; 503 with what keeps it from that otherwise. A HXO that is disabled answers reads, as it was told to:
   * that is no reason to keep callers from it, and it says so.
   */
  @Get('ready')
  @Public()
  async ready(): Promise<{ readonly status: 'ready' | 'disabled'; readonly detail?: string }> {
    const reasons = await this.hxo.readiness();
    if (reasons.length > 0) throw new HttpError('NOT_READY', reasons.join(' '));
    if (this.options.enabled) return { status: 'ready' };
    return {
      status: 'disabled',
      detail: 'HXO_ENABLED=false: reads are answered, plans are neither accepted nor resumed.',
    };
  }
}
