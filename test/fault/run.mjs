/**
 * The fault campaign, run from dist: `npm run fault -- <scenario> --seed N`. Ends 0 when the verdict is ok, 1 when it is not, 2
 * when it was called wrongly.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runCampaign } from './campaign.mjs';
import { scenarios } from './scenarios.mjs';

const results = 'fault-results';
const names = Object.keys(scenarios);
const help = `Usage: npm run fault -- <scenario> [options]

Runs a plan quietly, then runs it again and again while faults are dealt at random moments, and gives a verdict from the
checkpoint store's file and from a ledger that the shards write outside HXO.

Scenarios:
${names.map((name) => `  ${name.padEnd(13)} ${scenarios[name].says} (${scenarios[name].times} times)`).join('\n')}
  ${'all'.padEnd(13)} all of them, one after the other

Options:
  --seed N      of kinds, targets and moments of faults; a random one when left out
  --times N     faults to deal (default: as above)
  --shards N    of each plan (default: 20000)
  --workers N   worker processes (default: 2)
  --gap-ms N    longest time between two faults (default: the scenario's)
  --help        this text

Figures are written to ${results}/<scenario>-<seed>.json; store, ledger and logs of a campaign that went wrong to the folder
${results}/<scenario>-<seed>/.
`;

const options = readArguments();
if (options !== null) {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
  let sound = true;
  for (const scenario of options.chosen) sound = (await run(scenario, options)) && sound;
  process.exitCode = sound ? 0 : 1;
}

/** Null when there is nothing to run. */
function readArguments() {
  try {
    const number = { type: 'string' };
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        seed: number,
        times: number,
        shards: number,
        workers: number,
        'gap-ms': number,
        help: { type: 'boolean' },
      },
    });
    if (values.help) {
      process.stdout.write(help);
      return null;
    }
    const [name] = positionals;
    if (positionals.length !== 1 || !['all', ...names].includes(name))
      throw new Error(`Name one scenario: ${names.join(', ')}, all.`);
    return {
      chosen: name === 'all' ? names : [name],
      seed: wholeNumber('seed', values.seed, 0) ?? Math.floor(Math.random() * 1_000_000),
      times: wholeNumber('times', values.times, 1),
      shards: wholeNumber('shards', values.shards, 1) ?? 20_000,
      workers: wholeNumber('workers', values.workers, 1) ?? 2,
      gap_max_ms: wholeNumber('gap-ms', values['gap-ms'], 1),
    };
  } catch (error) {
    process.stderr.write(`${error.message}\nSee npm run fault -- --help.\n`);
    process.exitCode = 2;
    return null;
  }
}

function wholeNumber(name, text, min) {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= min) return value;
  throw new Error(`--${name} ${text}: give a whole number from ${min} on.`);
}

async function run(scenario, { seed, shards, workers, gap_max_ms, times = scenarios[scenario].times }) {
  const label = `${scenario}-${seed}`;
  const say = (line) => process.stdout.write(`${line}\n`);
  say(`seed ${seed}: ${scenario}, ${times} faults, ${shards} shards, ${workers} workers`);
  const evidence = join(results, label);
  const options = { scenario, seed, times, shards, workers, gap_max_ms };
  const outcome = await runCampaign({ ...options, tell: say, evidence }).catch((error) => ({
    problems: [`The campaign broke off: ${error.stack}`],
    plans: [],
  }));
  const { problems, plans, redis_clear_s } = outcome;
  console.table(plans.map(({ plan_id: _plan_id, ...figures }) => figures));
  if (redis_clear_s !== undefined) say(`Redis was clear after ${redis_clear_s} s.`);
  const verdict = problems.length === 0 ? 'ok' : 'not ok';
  mkdirSync(results, { recursive: true });
  writeFileSync(
    join(results, `${label}.json`),
    `${JSON.stringify({ ...options, verdict, ...outcome }, null, 2)}\n`,
  );
  for (const problem of problems) say(`- ${problem}`);
  say(`verdict: ${verdict}`);
  return problems.length === 0;
}
