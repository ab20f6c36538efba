/**
 * The work of the fault campaign, loaded through HXO_EXECUTORS: each shard hashes its inputs some thousand times, which takes
 * 1 to 3 ms, and leaves one line in a ledger that HXO knows nothing of.
 *
 * The file is opened with O_APPEND and a line is one write(2): lines of different workers do not mix, and what a process wrote
 * before it was killed stays. An executor is not told its plan, so the campaign writes a line `plan <n>` before it submits one.
 */
import { hash } from 'node:crypto';
import { openSync, writeSync } from 'node:fs';

/** In the current directory of the workers: HXO hands no variables on to executors. */
export const ledger_name = 'ledger.txt';

const rounds_min = 1_000;
const rounds_span = 2_000;

/** What shard `n` hashes. */
export function inputsOf(n) {
  return { n, rounds: rounds_min + ((n * 7_919) % rounds_span), text: `shard ${n} of the fault campaign` };
}

/** What must come of it. */
export function valueOf({ n, rounds, text }) {
  let digest = text;
  for (let round = 0; round < rounds; round++) digest = hash('sha256', digest);
  return { n, digest };
}

let ledger = null;

const ledgerExecutor = {
  name: 'ledger',
  version: '1',
  kinds: ['fault.ledger'],
  cacheable: false,
  deterministic: true,
  load: 'cpu',
  isolation: 'thread',
  parse: (inputs) => inputs,
  async run({ ordinal, attempt, inputs }) {
    ledger ??= openSync(ledger_name, 'a');
    const value = valueOf(inputs);
    writeSync(ledger, `${Date.now()} ${process.pid} ${ordinal} ${attempt}\n`);
    return { value };
  },
};

const byNumber = {
  name: 'by_number',
  parse: ({ shards = 1 }) => ({ shards: Number(shards) }),
  async *partition({ shards }) {
    for (let n = 0; n < shards; n++) {
      const inputs = inputsOf(n);
      yield { wave: 0, weight: inputs.rounds, inputs, input_digests: [] };
    }
    return { matched: shards, taken: shards, truncated: 0 };
  },
};

export const partitioners = [byNumber];
export default [ledgerExecutor];
