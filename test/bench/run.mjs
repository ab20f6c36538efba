/**
 * Benchmarks, run from dist: `npm run bench -- <name>`. Prints tables, writes the figures to bench-results/<name>.json, and
 * ends 1 when a goal is missed, 2 when it was called wrongly. Absolute times drift on shared machines: what counts is the ratio to a peer in the same run.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { docs } from './docs/docs.mjs';
import { backfill } from './backfill.mjs';
import { fanOutAgainstPeers, million, scaling, status } from './fanout/benchmarks.mjs';
import { merkle } from './merkle.mjs';
import { pack } from './pack.mjs';
import { pack100k } from './pack-100k.mjs';

const results = 'bench-results';

/** `run` returns { tables: name → rows, met: are its goals reached }. */
const benchmarks = {
  fanout: {
    says: '100,000 no-op shards, embedded and federated, against plain BullMQ with a job for each',
    run: fanOutAgainstPeers,
  },
  million: { says: 'a million no-op shards federated: rate and memory, against 100,000', run: million },
  scaling: { says: 'shards that wait 20 ms on 2 and 4 workers, against one worker', run: scaling },
  status: { says: "how soon GET status answers while a plan runs, against BullMQ's job counts", run: status },
  pack: { says: 'packing node_modules, against tar and gzip of the same files', run: pack },
  'pack-100k': {
    says: 'packing 100,000 small files: memory and answers of status, against fixed limits',
    run: async () => {
      const rows = await pack100k();
      return { tables: { runs: rows }, met: rows.every((row) => row.met) };
    },
  },
  docs: { says: 'indexing documentation, against MiniSearch alone', run: docs },
  backfill: {
    says: 'a backfill in PostgreSQL and in SQLite, against a keyset loop by hand',
    run: backfill,
  },
  merkle: { says: 'the root of a million leaves, against node:crypto node by node', run: merkle },
};
const names = Object.keys(benchmarks);
const help = `Usage: npm run bench -- <name>

Runs a benchmark and prints its tables. Ends 0 when its goals are reached, 1 when one is missed. Absolute times drift on
shared machines: what counts is the ratio to a peer in the same run.

Benchmarks:
${names.map((name) => `  ${name.padEnd(10)} ${benchmarks[name].says}`).join('\n')}

Options:
  --help     this text

Figures are written to ${results}/<name>.json.
`;

const name = readArguments();
if (name !== null) {
  const { tables, met } = await benchmarks[name].run();
  for (const [title, rows] of Object.entries(tables)) {
    process.stdout.write(`\n${title}\n`);
    console.table(rows.map(({ slowest: _slowest, phases: _phases, status: _status, ...figures }) => figures));
  }
  mkdirSync(results, { recursive: true });
  writeFileSync(join(results, `${name}.json`), `${JSON.stringify(tables, null, 2)}\n`);
  process.exitCode = met ? 0 : 1;
}

/** The benchmark to run; null when there is none. */
function readArguments() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { help: { type: 'boolean' } },
    });
    if (values.help) {
      process.stdout.write(help);
      return null;
    }
    const [named] = positionals;
    if (positionals.length !== 1 || !names.includes(named))
      throw new Error(`Name one benchmark: ${names.join(', ')}.`);
    return named;
  } catch (error) {
    process.stderr.write(`${error.message}\nSee npm run bench -- --help.\n`);
    process.exitCode = 2;
    return null;
  }
}
