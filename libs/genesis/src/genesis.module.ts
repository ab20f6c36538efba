import { Module, type DynamicModule } from '@nestjs/common';
import { EventEmitter2, EventEmitterModule } from '@nestjs/event-emitter';
import { GenesisBus } from './bus.js';
import { Journal, type JournalOptions } from './journal.js';

export interface GenesisOptions {
  /** GENESIS_MODE. `disabled` stops events, not plans. */
  readonly mode: 'enabled' | 'disabled';
  /** Folder of the journal's segments. */
  readonly journal_folder: string;
  readonly journal?: JournalOptions;
}

/**
 * Offers the {@link GenesisBus}, and the {@link Journal} (null when events are disabled), which is for its user to close: only
 * that knows when no more events come.
 */
@Module({})
export class GenesisModule {
  static register(options: GenesisOptions): DynamicModule {
    const enabled = options.mode === 'enabled';
    return {
      module: GenesisModule,
      imports: [EventEmitterModule.forRoot({ global: false })],
      providers: [
        {
          provide: GenesisBus,
          inject: [EventEmitter2],
          useFactory: (emitter: EventEmitter2) => new GenesisBus(emitter, enabled),
        },
        {
          provide: Journal,
          useFactory: () => (enabled ? Journal.open(options.journal_folder, options.journal) : null),
        },
      ],
      exports: [GenesisBus, Journal],
    };
  }
}
