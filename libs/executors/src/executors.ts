import type { Executor } from '#hxo/execute';
import { docsIndex } from './docs_index/docs-index.js';
import { indexAssets } from './index_assets/index-assets.js';
import { packBackend } from './pack_backend/pack-backend.js';
import { primeCaches } from './prime_caches/prime-caches.js';
import { sqlMigrate } from './sql_migrate/sql-migrate.js';
import { warmRegistry } from './warm_registry/warm-registry.js';

/** Every executor of this build. */
export const executors: readonly Executor[] = [
  packBackend,
  sqlMigrate,
  warmRegistry,
  primeCaches,
  indexAssets,
  docsIndex,
];
