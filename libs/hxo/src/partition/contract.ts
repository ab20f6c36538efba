import type { Digest, Json } from '#truth';
import type { Targets } from '../execute/targets.js';
import type { Workspace } from '../execute/workspace.js';
import type { ConfigFields, RawConfig } from '../plan/stage-config.js';

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

/** What partitioners may read. They run off the main thread. */
export interface PartitionContext {
  readonly workspace: Workspace;
  /** The databases that plans may name. Left out where there can be none. */
  readonly targets?: Targets;
}

/** Splits a stage into shards. */
export interface Partitioner<Config = unknown> {
  readonly name: string;
  /** Its fields of a stage's config, for the documentation; those of this build all have them. */
  readonly fields?: ConfigFields<Config>;
  /** The one field of its config that may leave items out, where there is one: status and report name it then. */
  readonly cap?: string;
  /**
   * True when what it lists may be made by the stages that its stage depends on: such a stage with dependencies is
   * partitioned when they are done, not before the plan runs.
   */
  readonly follows_dependencies?: boolean;
  /** Checks a stage's `config` and fills defaults. Pure. Throws ConfigError naming the field. */
  parse(config: RawConfig): Config;
  /**
   * Refuses at once what could not be partitioned here: a database that is not configured, say. Reads little. Throws
   * ConfigError.
   */
  precheck?(config: Config, context: PartitionContext): Promise<void>;
  /**
   * True where its shards would only wait for each other, wherever they run, as writers of one SQLite file do: the engine
   * then hands out one slot's worth of them, and a pool gives them to one member. For speed alone: shards that run side by
   * side all the same must come to the same. Reads nothing.
   */
  one_by_one?(config: Config, context: PartitionContext): boolean;
  /** Yields shards in ordinal order; returns the summary. Runs off the main thread. Deterministic for equal content. */
  partition(config: Config, context: PartitionContext): AsyncGenerator<ShardDraft, PartitionSummary>;
}
