import type { ShardPhase } from '../views.js';

const phases = ['pending', 'retrying', 'claimed', 'running', 'done', 'failed', 'skipped'] as const;
type PhaseCode = 0 | 1 | 2 | 3 | 4 | 5 | 6;
const code = Object.fromEntries(phases.map((phase, i) => [phase, i])) as Record<ShardPhase, PhaseCode>;

/** Every legal transition of a shard. */
const transitions: Readonly<Record<ShardPhase, readonly ShardPhase[]>> = {
  pending: ['claimed', 'done', 'skipped'], // done without a lease: reused
  retrying: ['pending', 'skipped'],
  claimed: ['running', 'pending', 'retrying', 'done', 'failed'], // a fast bundle may end before its start is heard of
  running: ['pending', 'retrying', 'done', 'failed'],
  done: [],
  failed: [],
  skipped: [],
};
const legal = phases.map((from) => phases.map((to) => transitions[from].includes(to)));

/** All phases of a shard. */
export const shard_phases = Object.keys(transitions) as readonly ShardPhase[];

/** Shards that are leased together: one stage, one wave, one attempt. */
export interface Claim {
  /** Ascending. */
  readonly ordinals: readonly number[];
  readonly attempt: number;
}

export type ShardCounts = Readonly<Record<ShardPhase, number>>;

/**
 * Where every shard of one stage stands: five bytes a shard, so that a million shards of a plan fit in 5 MB. Pure memory,
 * a mirror of what the checkpoint store has committed; rebuilt from it at every start.
 */
export class StageBoard {
  private phase = new Uint8Array(0);
  /** The latest lease of each shard: the fence. 0 is never leased. */
  private attempt = new Uint32Array(0);
  private readonly tally = [0, 0, 0, 0, 0, 0, 0];
  private size = 0;
  /** First ordinal of each wave. */
  private readonly wave_starts: number[] = [];
  /** Shards of each wave that are neither done, failed nor skipped. */
  private readonly wave_open: number[] = [];
  private readonly wave_failed: number[] = [];
  private wave = 0;
  /** Everything below it in the current wave has been leased once, or needs no lease. */
  private cursor = 0;
  /** Shards that came back, by their latest attempt, in the order of their return. */
  private readonly returned = new Map<number, number[]>();
  private readonly failure_count = new Map<number, number>();
  private readonly loss_count = new Map<number, number>();
  private halted = false;

  /** Adds `count` shards of a wave after those known. Waves never fall, and none is left out. */
  add(count: number, wave: number): void {
    while (this.wave_starts.length <= wave) {
      this.wave_starts.push(this.size);
      this.wave_open.push(0);
      this.wave_failed.push(0);
    }
    this.wave_open[wave]! += count;
    const size = this.size + count;
    if (size > this.phase.length) {
      const capacity = Math.max(1024, size, this.phase.length * 2);
      this.phase = grown(this.phase, new Uint8Array(capacity));
      this.attempt = grown(this.attempt, new Uint32Array(capacity));
    }
    this.size = size;
    this.tally[code.pending]! += count;
  }

  get total(): number {
    return this.size;
  }

  phaseOf(ordinal: number): ShardPhase {
    return phases[this.phase[ordinal]!]!;
  }

  /** The shard's fence: outcomes of an earlier attempt are late. */
  attemptOf(ordinal: number): number {
    return this.attempt[ordinal]!;
  }

  failuresOf(ordinal: number): number {
    return this.failure_count.get(ordinal) ?? 0;
  }

  lossesOf(ordinal: number): number {
    return this.loss_count.get(ordinal) ?? 0;
  }

  counts(): ShardCounts {
    return Object.fromEntries(phases.map((phase, i) => [phase, this.tally[i]!])) as Record<
      ShardPhase,
      number
    >;
  }

  /** Is there a shard that may be leased now? */
  hasWork(): boolean {
    return this.returned.size > 0 || this.advance();
  }

  /** Shards that wait for a lease in this wave and later ones. */
  waiting(): number {
    return this.tally[code.pending]!;
  }

  /** True when every shard is done, failed or skipped. */
  settled(): boolean {
    return this.tally[code.done]! + this.tally[code.failed]! + this.tally[code.skipped]! === this.size;
  }

  /**
   * Takes at most `count` shards for one lease: those that came back first, then fresh ones in ordinal order. Shards that
   * have lost several leases go alone, so that one that kills its worker takes no other with it.
   */
  claim(count: number): Claim | null {
    const claim = this.claimReturned(count) ?? this.claimFresh(count);
    if (claim === null) return null;
    for (const ordinal of claim.ordinals) {
      this.move(ordinal, 'claimed');
      this.attempt[ordinal] = claim.attempt;
    }
    return claim;
  }

  private claimReturned(count: number): Claim | null {
    const entry = this.returned.entries().next().value;
    if (entry === undefined) return null;
    const [last_attempt, queue] = entry;
    let taken = 1;
    if (!this.goesAlone(queue[0]!)) {
      const end = Math.min(count, queue.length);
      while (taken < end && !this.goesAlone(queue[taken]!)) taken++;
    }
    const ordinals = queue.splice(0, taken).sort((a, b) => a - b);
    if (queue.length === 0) this.returned.delete(last_attempt);
    return { ordinals, attempt: last_attempt + 1 };
  }

  private goesAlone(ordinal: number): boolean {
    return this.lossesOf(ordinal) >= 2;
  }

  private claimFresh(count: number): Claim | null {
    const ordinals: number[] = [];
    while (ordinals.length < count && this.advance()) ordinals.push(this.cursor++);
    return ordinals.length === 0 ? null : { ordinals, attempt: 1 };
  }

  /** Moves the cursor to the next fresh shard, into the next wave when this one is done. False when there is none now. */
  private advance(): boolean {
    for (;;) {
      const end = this.wave_starts[this.wave + 1] ?? this.size;
      while (this.cursor < end && !this.isFresh(this.cursor)) this.cursor++;
      if (this.cursor < end) return true;
      const done = this.wave_open[this.wave] === 0 && this.wave_failed[this.wave] === 0;
      if (!done || this.wave + 1 >= this.wave_starts.length) return false;
      this.wave++;
    }
  }

  private isFresh(ordinal: number): boolean {
    return this.phase[ordinal] === code.pending && this.attempt[ordinal] === 0;
  }

  /** A worker has begun the shards; those that have moved on since are left alone. */
  begin(ordinals: Iterable<number>, attempt: number): void {
    for (const ordinal of ordinals) {
      if (this.phase[ordinal] === code.claimed && this.attempt[ordinal] === attempt)
        this.move(ordinal, 'running');
    }
  }

  /** Leased now: its outcome is awaited. */
  isUnderWay(ordinal: number): boolean {
    const at = this.phase[ordinal];
    return at === code.claimed || at === code.running;
  }

  done(ordinal: number): void {
    this.move(ordinal, 'done');
  }

  /** The shard has failed for good; with a lost lease when that was one too many. */
  failed(ordinal: number, charge: 'loss' | null = null): void {
    this.move(ordinal, 'failed');
    if (charge === 'loss') this.loss_count.set(ordinal, this.lossesOf(ordinal) + 1);
  }

  /**
   * The shard waits for its back-off until {@link retry}; on a halted board it is skipped at once.
   * @param charge what it counts as: an executor error, a lost lease, or nothing that is the shard's doing
   */
  retryLater(ordinal: number, charge: 'failure' | 'loss' | null = 'failure'): void {
    this.move(ordinal, 'retrying');
    if (charge === 'failure') this.failure_count.set(ordinal, this.failuresOf(ordinal) + 1);
    if (charge === 'loss') this.loss_count.set(ordinal, this.lossesOf(ordinal) + 1);
    if (this.halted) this.move(ordinal, 'skipped');
  }

  /** The back-off is over. */
  retry(ordinal: number): void {
    if (this.phase[ordinal] === code.retrying) this.giveBack(ordinal);
  }

  /** The lease ended without the shard having been executed: it is free again, at no charge. */
  release(ordinal: number): void {
    this.giveBack(ordinal);
  }

  /** The lease was lost with its worker. Counted apart from failures. */
  lose(ordinal: number): void {
    this.giveBack(ordinal);
    this.loss_count.set(ordinal, this.lossesOf(ordinal) + 1);
  }

  private giveBack(ordinal: number): void {
    this.move(ordinal, 'pending');
    if (this.halted) {
      this.move(ordinal, 'skipped');
      return;
    }
    const attempt = this.attempt[ordinal]!;
    const queue = this.returned.get(attempt);
    if (queue === undefined) this.returned.set(attempt, [ordinal]);
    else queue.push(ordinal);
  }

  /**
   * Nothing more is leased: shards that wait are skipped now, those that come back are skipped then, and only those under
   * way may still end.
   */
  halt(): void {
    this.halted = true;
    this.returned.clear();
    for (let ordinal = 0; ordinal < this.size; ordinal++) {
      const at = this.phase[ordinal];
      if (at === code.pending || at === code.retrying) this.move(ordinal, 'skipped');
    }
  }

  /** A wave with a failed shard has run to its end, and others would follow: they can no longer start. */
  blockedByWave(): boolean {
    // Looking for work first moves on to the wave that counts: after a restart the board stands at its first.
    return (
      !this.halted &&
      !this.hasWork() &&
      this.wave + 1 < this.wave_starts.length &&
      this.wave_open[this.wave] === 0 &&
      this.wave_failed[this.wave]! > 0
    );
  }

  /** Restores what the store knows of one shard's past leases. For rehydration, before the first claim. */
  restore(
    ordinal: number,
    past: { readonly attempt?: number; readonly failures?: number; readonly losses?: number },
  ): void {
    if (past.attempt !== undefined) this.attempt[ordinal] = Math.max(this.attempt[ordinal]!, past.attempt);
    if (past.failures !== undefined) this.failure_count.set(ordinal, past.failures);
    if (past.losses !== undefined) this.loss_count.set(ordinal, past.losses);
  }

  /** Restores a result. For rehydration. */
  restoreResult(ordinal: number, phase: 'done' | 'failed'): void {
    this.put(ordinal, phase);
  }

  /** Ends rehydration: shards that were leased before and have no result wait for a lease again. */
  restored(): void {
    for (let ordinal = 0; ordinal < this.size; ordinal++) {
      if (this.phase[ordinal] !== code.pending || this.attempt[ordinal] === 0) continue;
      const queue = this.returned.get(this.attempt[ordinal]!);
      if (queue === undefined) this.returned.set(this.attempt[ordinal]!, [ordinal]);
      else queue.push(ordinal);
    }
  }

  /**
   * Takes up a lease that outlived the process that gave it, or was lost too early: the shard is claimed again under the same
   * attempt. False when it has a result, or a later lease. In rehydration, after {@link restored}.
   */
  reclaim(ordinal: number, attempt: number): boolean {
    if (this.phase[ordinal] !== code.pending || this.attempt[ordinal] !== attempt) return false;
    const queue = this.returned.get(attempt)!;
    queue.splice(queue.indexOf(ordinal), 1);
    if (queue.length === 0) this.returned.delete(attempt);
    this.move(ordinal, 'claimed');
    return true;
  }

  private move(ordinal: number, to: ShardPhase): void {
    const from = this.phase[ordinal]!;
    if (!legal[from]![code[to]]) {
      throw new Error(`Illegal shard transition ${phases[from]} → ${to} of ordinal ${ordinal}.`);
    }
    this.put(ordinal, to);
  }

  private put(ordinal: number, to: ShardPhase): void {
    this.tally[this.phase[ordinal]!]!--;
    this.tally[code[to]]!++;
    this.phase[ordinal] = code[to];
    if (code[to] < code.done) return;
    const wave = this.waveOf(ordinal);
    this.wave_open[wave]!--;
    if (to === 'failed') this.wave_failed[wave]!++;
  }

  /** The last wave that starts at or before the ordinal. */
  private waveOf(ordinal: number): number {
    let low = 0;
    let high = this.wave_starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.wave_starts[middle]! <= ordinal) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

function grown<T extends Uint8Array | Uint32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
