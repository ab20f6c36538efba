import type { Digest, Json } from '#truth';
import type { Workspace } from '../execute/workspace.js';

/** A shard as its partitioner makes it; the engine adds ordinal and content id. */
export interface ShardDraft {
  /** Wave w of a stage starts when wave w-1 is done. From 0, never falling. */
  readonly wave: number;
  /** Expected cost in any unit that is the same over the stage (bytes, rows); larger is slower. At least 1. */
  readonly weight: number;
  readonly inputs: Json;
  /** SHA-256 of each piece of content that the shard will read, so that the content id changes when the content does. */
  readonly input_digests: readonly Digest[];
}

/** What a cap left out. Reported in status, report and certificate: a truncated plan is never silent. */
export interface PartitionSummary {
  /** Items (files, rows, modules) that matched. */
  readonly matched: number;
  /** Items that went into shards. */
  readonly taken: number;
  /** matched - taken. */
  readonly truncated: number;
}

/** Thrown when a stage's config is not what its partitioner takes. `field` is the path below `config`. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  constructor(
    readonly field: string,
    message: string,
  ) {
    super(message);
  }
}

/** Splits a stage into shards. */
export interface Partitioner<Config = unknown> {
  readonly name: string;
  /** Checks a stage's `config` and fills defaults. Pure. Throws {@link ConfigError} naming the field. */
  parse(config: Readonly<Record<string, Json>>): Config;
  /** Yields shards in ordinal order; returns the summary. Runs off the main thread. Deterministic for equal content. */
  partition(
    config: Config,
    context: { readonly workspace: Workspace },
  ): AsyncGenerator<ShardDraft, PartitionSummary>;
}
