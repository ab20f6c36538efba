/**
 * The work of the fan-out benchmark, loaded through HXO_EXECUTORS: shards that do nothing, or wait, with 120 bytes of inputs
 * and 92 bytes of output each.
 */
import { setTimeout as sleep } from 'node:timers/promises';

const input_pad = 'i'.repeat(97);
const output_pad = 'o'.repeat(69);

/** Inputs of shard `n`: 120 bytes of JSON. */
export function inputsOf(n) {
  return { n: String(n).padStart(8, '0'), pad: input_pad };
}

/** Output of a shard: 92 bytes of JSON. */
export function outputOf({ n }) {
  return { n, pad: output_pad };
}

/** `shards` of them, and a seed that keeps one plan's content ids apart from another's. */
const byCount = {
  name: 'by_count',
  parse: ({ shards = 1, seed = 0 }) => ({ shards: Number(shards), seed: Number(seed) }),
  async *partition({ shards, seed }) {
    for (let n = 0; n < shards; n++) {
      yield { wave: 0, weight: 1, inputs: inputsOf(seed + n), input_digests: [] };
    }
    return { matched: shards, taken: shards, truncated: 0 };
  },
};

const base = {
  version: '1',
  cacheable: false,
  deterministic: true,
  isolation: 'thread',
  parse: (inputs) => inputs,
};

const noop = {
  ...base,
  name: 'noop',
  kinds: ['bench.noop'],
  load: 'cpu',
  run: async ({ inputs }) => ({ value: outputOf(inputs) }),
};

/** Waits 20 ms for something that takes no CPU, as a call over the network does. */
const wait20ms = {
  ...base,
  name: 'wait_20ms',
  kinds: ['bench.wait'],
  load: 'io',
  async run({ inputs }, { signal }) {
    await sleep(20, undefined, { signal });
    return { value: outputOf(inputs) };
  },
};

export const partitioners = [byCount];
export default [noop, wait20ms];
