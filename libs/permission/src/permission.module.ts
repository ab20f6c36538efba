import { Module, type DynamicModule, type ModuleMetadata, type Type } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { accessPolicy, type AccessOptions } from './authenticate.js';
import { DenialRecorder } from './denial.js';
import { ACCESS_POLICY, PermissionGuard } from './permission.guard.js';

/** Guards every route of the application that imports it. */
@Module({})
export class PermissionModule {
  /**
   * `recorder` writes denials down; what it injects comes from `imports`. Throws AccessPolicyError when the options
   * would leave the server open to other machines.
   */
  static register(
    options: AccessOptions & {
      readonly imports: NonNullable<ModuleMetadata['imports']>;
      readonly recorder: Type<DenialRecorder>;
    },
  ): DynamicModule {
    return {
      module: PermissionModule,
      imports: options.imports,
      providers: [
        { provide: ACCESS_POLICY, useValue: accessPolicy(options) },
        { provide: DenialRecorder, useClass: options.recorder },
        PermissionGuard,
        { provide: APP_GUARD, useExisting: PermissionGuard },
      ],
      exports: [PermissionGuard, DenialRecorder],
    };
  }
}
