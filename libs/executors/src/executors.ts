import type { Executor } from '#hxo/execute';
import { packBackend } from './pack_backend/pack-backend.js';
import { sqlMigrate } from './sql_migrate/sql-migrate.js';

/** Every executor of this build. */
export const executors: readonly Executor[] = [packBackend, sqlMigrate];
