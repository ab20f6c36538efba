import { Controller, Get } from '@nestjs/common';
import { Hxo } from '#hxo';
import { Public } from '#permission';
import { HttpError } from './problem.js';

/** For whoever watches over the process. */
@Controller('health')
export class HealthController {
  constructor(private readonly hxo: Hxo) {}

  /** The process answers. */
  @Get('live')
  @Public()
  live(): { readonly status: 'live' } {
    return { status: 'live' };
  }

  /** HXO takes work now; 503 with what keeps it from that otherwise. */
  @Get('ready')
  @Public()
  async ready(): Promise<{ readonly status: 'ready' }> {
    const reasons = await this.hxo.readiness();
    if (reasons.length > 0) throw new HttpError('NOT_READY', reasons.join(' '));
    return { status: 'ready' };
  }
}
