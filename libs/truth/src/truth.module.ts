import { Module, type DynamicModule } from '@nestjs/common';
import { loadOrCreateSigningKey } from './certificate/signing-key.js';

/** Token of the {@link SigningKey} that signs certificates. */
export const SIGNING_KEY = Symbol('hxo signing key');

/** Offers the signing key; everything else of truth is plain functions. */
@Module({})
export class TruthModule {
  /** @param signing_key_file PKCS#8 PEM, made when missing. Throws KeyFileError when it is there and cannot be used. */
  static register(signing_key_file: string): DynamicModule {
    return {
      module: TruthModule,
      providers: [{ provide: SIGNING_KEY, useFactory: () => loadOrCreateSigningKey(signing_key_file) }],
      exports: [SIGNING_KEY],
    };
  }
}
