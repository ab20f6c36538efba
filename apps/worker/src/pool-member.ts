/**
 * The script of one pool thread or process: executors, artifacts, workspace and targets put together, then served.
 */
import { registerExecutors } from '#hxo/execute';
import { createArtifactStore, createWorkspace } from '#adapters/files';
import { createTargets, type TargetsOptions } from '#adapters/sql';
import { serveMember } from '#adapters/threads';
import { loadExecutors } from '#executors';

/** What the pool passes to its members as `member_options`. */
export interface PoolMemberOptions {
  /** Folder of the artifact store. */
  readonly artifacts_dir: string;
  readonly workspace: { readonly root: string; readonly forbidden: readonly string[] };
  /** The databases that plans may name; none when left out. */
  readonly targets?: TargetsOptions;
  /** File URLs of further executor modules. */
  readonly extra_executors: readonly string[];
}

serveMember(async (options) => {
  const { artifacts_dir, workspace, targets, extra_executors } = options as PoolMemberOptions;
  return {
    executors: registerExecutors(await loadExecutors(extra_executors)),
    artifacts: createArtifactStore(artifacts_dir),
    workspace: createWorkspace(workspace),
    targets: createTargets(targets ?? { addresses: {}, forbidden: [] }),
  };
});
