import { Injectable, Module, type DynamicModule, type ModuleMetadata } from '@nestjs/common';
import { Hxo } from '#hxo';
import { DenialRecorder, PermissionModule, type Denial } from '#permission';
import { GenesisController } from './genesis.controller.js';
import { HealthController } from './health.controller.js';
import { HTTP_OPTIONS, type HttpOptions } from './http-options.js';
import { HxoController } from './hxo.controller.js';
import { JsonBody } from './json-body.interceptor.js';

/** Denials go into HXO's audit trail. */
@Injectable()
class AuditedDenials extends DenialRecorder {
  constructor(private readonly hxo: Hxo) {
    super();
  }

  override recordDenial({ role, method, route, reason }: Denial): Promise<void> {
    return this.hxo.recordAudit({
      actor: role,
      action: 'access.denied',
      outcome: 'denied',
      plan_id: null,
      data: { method, route: route.slice(0, 200), reason },
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
