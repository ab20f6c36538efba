/**
 * Benchmarks, run from dist: `npm run bench -- <name>`. Prints a table, writes the figures to bench-results/<name>.json,
 * and ends 1 when a goal is missed.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pack100k } from './pack-100k.mjs';

const benchmarks = { 'pack-100k': pack100k };
const name = process.argv[2];
const benchmark = benchmarks[name];

if (benchmark === undefined) {
  process.stderr.write(`Name a benchmark: ${Object.keys(benchmarks).join(', ')}.\n`);
  process.exitCode = 2;
} else {
  const rows = await benchmark();
  console.table(rows.map(({ slowest: _slowest, ...figures }) => figures));
  mkdirSync('bench-results', { recursive: true });
  writeFileSync(join('bench-results', `${name}.json`), `${JSON.stringify(rows, null, 2)}\n`);
  process.exitCode = rows.every((row) => row.met) ? 0 : 1;
}
