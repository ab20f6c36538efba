import { join } from 'node:path';
import type { System } from './system.js';

/** Loads the executors of fixtures/executors/scripted.mjs. */
export const with_scripted = { HXO_EXECUTORS: join(process.cwd(), 'test/fixtures/executors/scripted.mjs') };

/** Bytes of each scripted file, which is also the size of a chunk: every file is a shard of its own. */
const file_bytes = 100;

/** Writes files whose names tell their shards what to do. */
export function writeScript(system: System, ...names: string[]): void {
  for (const name of names) system.write(name, `${name}\n`.padEnd(file_bytes, '.'));
}

/** A stage over the scripted files that match the globs. */
export function scriptedStage(id: string, include: string[], rest: object = {}): object {
  return {
    id,
    kind: 'test.scripted',
    executor: 'scripted_thread',
    config: { include, chunk_size_mb: file_bytes / 1_000_000 },
    ...rest,
  };
}
