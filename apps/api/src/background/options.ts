import type { WorkspaceOptions } from '#adapters/files';
import type { TargetsOptions } from '#adapters/sql';

/** What each background thread is started with. */
export interface BackgroundOptions {
  readonly db_path: string;
  readonly artifacts_dir: string;
  /** File URLs of further modules, which may bring partitioners. */
  readonly extra_executors: readonly string[];
  readonly workspace: WorkspaceOptions;
  readonly targets: TargetsOptions;
}
