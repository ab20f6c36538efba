import { lane_idle, lanes_max } from './protocol.js';

/** A shard that runs: its index in its bundle, and for how long it has been seen to run. */
export interface RunningShard {
  readonly index: number;
  readonly ran_ms: number;
}

/** Where a bundle's shards are in the running count that lanes show. */
export interface LaneSpan {
  readonly base: number;
  readonly count: number;
  /** Lanes that the bundle uses: 1 to {@link lanes_max}. */
  readonly concurrency: number;
}

/** Reads a member's lanes from outside: what runs there, and since when. */
export class LaneWatch {
  readonly #seen = new Int32Array(lanes_max).fill(lane_idle);
  readonly #since = new Float64Array(lanes_max);

  constructor(private readonly lanes: Int32Array) {}

  /** Shards of the bundle that run now. The lanes may be a bundle ahead of the member's messages, or behind. */
  running({ base, count, concurrency }: LaneSpan, now: number): RunningShard[] {
    const running: RunningShard[] = [];
    for (let lane = 0; lane < concurrency; lane++) {
      const shown = this.lanes[lane]!;
      if (shown < base || shown >= base + count) continue;
      if (this.#seen[lane] !== shown) {
        this.#seen[lane] = shown;
        this.#since[lane] = now;
      }
      running.push({ index: shown - base, ran_ms: now - this.#since[lane]! });
    }
    return running;
  }
}
