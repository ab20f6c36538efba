import type { Background } from './background.js';
import type { CheckpointStore } from './checkpoint/checkpoint-store.js';
import type { Clock } from './clock.js';
import type { GenesisLink } from './links/genesis.link.js';
import type { TruthLink } from './links/truth.link.js';
import type { FederationLink } from './links/federation.link.js';
import type { PartitionContext } from './partition/contract.js';
import type { Catalogue } from './plan/catalogue.js';

/** What the engine and the steps of a plan work with. */
export interface EnginePorts {
  readonly catalogue: Catalogue;
  readonly partition_context: PartitionContext;
  readonly store: CheckpointStore;
  readonly background: Background;
  readonly federation: FederationLink;
  readonly genesis: GenesisLink;
  readonly truth: TruthLink;
  readonly clock: Clock;
}
