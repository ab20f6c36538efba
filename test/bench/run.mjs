/**
 * Benchmarks, run from dist: `npm run bench -- <name>`. Prints tables, writes the figures to bench-results/<name>.json, and
 * ends 1 when a goal is missed. Absolute times drift on shared machines: what counts is the ratio to a peer in the same run.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { docs } from './docs/docs.mjs';
import { backfill } from './backfill.mjs';
import { fanOutAgainstPeers, million, scaling, status } from './fanout/benchmarks.mjs';
import { merkle } from './merkle.mjs';
import { pack } from './pack.mjs';
import { pack100k } from './pack-100k.mjs';

/** Each returns { tables: name → rows, met: are its goals reached }. */
const benchmarks = {
  backfill,
  fanout: fanOutAgainstPeers,
  million,
  scaling,
  status,
  merkle,
  docs,
  pack,
  'pack-100k': async () => {
    const rows = await pack100k();
    return { tables: { runs: rows }, met: rows.every((row) => row.met) };
  },
};
const name = process.argv[2];
const benchmark = benchmarks[name];

if (benchmark === undefined) {
  process.stderr.write(`Name a benchmark: ${Object.keys(benchmarks).join(', ')}.\n`);
  process.exitCode = 2;
} else {
  const { tables, met } = await benchmark();
  for (const [title, rows] of Object.entries(tables)) {
    process.stdout.write(`\n${title}\n`);
    console.table(rows.map(({ slowest: _slowest, phases: _phases, status: _status, ...figures }) => figures));
  }
  mkdirSync('bench-results', { recursive: true });
  writeFileSync(join('bench-results', `${name}.json`), `${JSON.stringify(tables, null, 2)}\n`);
  process.exitCode = met ? 0 : 1;
}
