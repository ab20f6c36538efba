import { Module, type DynamicModule, type ModuleMetadata } from '@nestjs/common';
import { GenesisBus, Journal } from '#genesis';
import type { SigningKey } from '#truth';
import { SIGNING_KEY } from '#truth/module';
import type { Background } from './background.js';
import type { CheckpointStore } from './checkpoint/checkpoint-store.js';
import { system_clock } from './clock.js';
import { Engine, type EngineLog } from './engine.js';
import type { ArtifactStore } from './execute/artifact-store.js';
import type { Cache } from './execute/cache.js';
import type { Transport } from './execute/transport.js';
import { Hxo } from './hxo.js';
import { HxoService } from './hxo.service.js';
import { BlueprintLink } from './links/blueprint.link.js';
import { FederationLink } from './links/federation.link.js';
import { GenesisLink, type GenesisLimits } from './links/genesis.link.js';
import { ParserLink } from './links/parser.link.js';
import { PermissionLink } from './links/permission.link.js';
import { TruthLink } from './links/truth.link.js';
import type { PartitionContext } from './partition/contract.js';
import type { Catalogue } from './plan/catalogue.js';
import type { PlanDefaults } from './plan/parse-plan.js';
import { hxo_version } from './version.js';

/** What a program gives HXO: the adapters behind its ports, and settings as values. */
export interface HxoOptions {
  readonly store: CheckpointStore;
  readonly artifacts: ArtifactStore;
  /** The cache that the workers fill. */
  readonly cache: Cache;
  readonly background: Background;
  readonly transport: Transport;
  readonly catalogue: Catalogue;
  /** What partitioners may look at when a plan is submitted. */
  readonly partition_context: PartitionContext;
  readonly log: EngineLog;
  readonly enabled: boolean;
  readonly defaults: PlanDefaults;
  readonly max_concurrency: number;
  readonly allow_captain_view: boolean;
  readonly events: GenesisLimits;
}

/** The engine and its links. Exports {@link Hxo} for callers and {@link Engine} for whoever starts and stops it. */
@Module({})
export class HxoModule {
  /** `imports` offer GenesisBus, Journal and the signing key: a registered GenesisModule and TruthModule. */
  static register(options: HxoOptions, imports: NonNullable<ModuleMetadata['imports']>): DynamicModule {
    const { store, artifacts, cache, background, transport, catalogue, partition_context, log } = options;
    const clock = system_clock;
    return {
      module: HxoModule,
      imports,
      providers: [
        {
          provide: GenesisLink,
          inject: [GenesisBus, Journal],
          useFactory: (bus: GenesisBus, journal: Journal | null) =>
            new GenesisLink(bus, journal, clock, options.events),
        },
        {
          provide: TruthLink,
          inject: [SIGNING_KEY, GenesisLink],
          useFactory: (key: SigningKey, genesis: GenesisLink) =>
            new TruthLink(key, genesis, clock, hxo_version),
        },
        { provide: ParserLink, useFactory: () => new ParserLink(catalogue, options.defaults) },
        { provide: BlueprintLink, useFactory: () => new BlueprintLink(catalogue, partition_context) },
        { provide: PermissionLink, useFactory: () => new PermissionLink(options) },
        {
          provide: FederationLink,
          inject: [GenesisLink, TruthLink],
          useFactory: (genesis: GenesisLink, truth: TruthLink) =>
            new FederationLink({
              ...{ store, transport, artifacts, genesis, truth, clock },
              random: Math.random,
              max_concurrency: options.max_concurrency,
              onError: (error) => log.error('An error while leasing or accepting.', error),
            }),
        },
        {
          provide: Engine,
          inject: [FederationLink, GenesisLink, TruthLink],
          useFactory: (federation: FederationLink, genesis: GenesisLink, truth: TruthLink) =>
            new Engine(
              { catalogue, partition_context, store, background, federation, genesis, truth, clock },
              log,
            ),
        },
        {
          provide: Hxo,
          inject: [Engine, ParserLink, BlueprintLink, PermissionLink, GenesisLink, TruthLink],
          useFactory: (
            engine: Engine,
            parser: ParserLink,
            blueprint: BlueprintLink,
            permission: PermissionLink,
            genesis: GenesisLink,
            truth: TruthLink,
          ) =>
            new HxoService({
              ...{
                engine,
                store,
                artifacts,
                cache,
                background,
                parser,
                blueprint,
                permission,
                genesis,
                truth,
                clock,
              },
              enabled: options.enabled,
            }),
        },
      ],
      exports: [Hxo, Engine],
    };
  }
}
