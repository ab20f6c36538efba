import { join } from 'node:path';
import { Module, type DynamicModule } from '@nestjs/common';
import { GenesisModule } from '#genesis';
import { HxoModule, type HxoOptions } from '#hxo/module';
import type { Settings } from '#settings';
import { TruthModule } from '#truth/module';
import { HttpModule } from './http.module.js';

/** HXO behind HTTP. */
@Module({})
export class AppModule {
  static register(
    settings: Settings,
    ports: Omit<HxoOptions, 'enabled' | 'defaults' | 'max_concurrency' | 'allow_captain_view' | 'events'>,
  ): DynamicModule {
    const genesis = GenesisModule.register({
      mode: settings.genesis_mode,
      journal_folder: join(settings.home, 'journal'),
      journal: { onFailure: (error) => ports.log.error(error.message, error) },
    });
    const truth = TruthModule.register(settings.signing_key_file);
    const hxo = HxoModule.register(
      {
        ...ports,
        enabled: settings.enabled,
        defaults: {
          slo_ms: settings.default_slo_ms,
          shard_timeout_ms: settings.shard_timeout_ms,
          max_shards: settings.max_shards,
        },
        max_concurrency: settings.max_concurrency,
        allow_captain_view: settings.allow_captain_view,
        events: { batch_size: settings.event_batch_size, max_rate: settings.event_max_rate },
      },
      [genesis, truth],
    );
    return { module: AppModule, imports: [HttpModule.register(settings, [hxo])] };
  }
}
