import { Injectable, Module, type DynamicModule, type ModuleMetadata } from '@nestjs/common';
import { Hxo } from '#hxo';
import { CoalescedDenials, PermissionModule, type Denial } from '#permission';
import { GenesisController } from './genesis.controller.js';
import { HealthController } from './health.controller.js';
import { HTTP_OPTIONS, type HttpOptions } from './http-options.js';
import { HxoController } from './hxo.controller.js';
import { JsonBody } from './json-body.interceptor.js';

/** Denials go into HXO's audit trail. */
@Injectable()
class AuditedDenials extends CoalescedDenials {
  constructor(private readonly hxo: Hxo) {
    super();
  }

  protected override write({ role, method, route, reason }: Denial, count: number): Promise<void> {
    return this.hxo.recordAudit({
      actor: role,
      action: 'access.denied',
      outcome: 'denied',
      plan_id: null,
      data: { method, route: route.slice(0, 200), reason, count },
    });
  }
}

/** The HTTP part of HXO: its routes, and the guard over all of them. */
@Module({})
export class HttpModule {
  /** `engine` are the modules that export {@link Hxo}. The application then needs {@link configureHttp}. */
  static register(options: HttpOptions, engine: NonNullable<ModuleMetadata['imports']>): DynamicModule {
    return {
      module: HttpModule,
      imports: [
        ...engine,
        PermissionModule.register({ ...options, imports: engine, recorder: AuditedDenials }),
      ],
      controllers: [HxoController, GenesisController, HealthController],
      providers: [{ provide: HTTP_OPTIONS, useValue: options }, JsonBody],
    };
  }
}
