import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseOutcomes, type Bundle, type Outcome } from '#hxo';
import type { PoolMemberOptions } from '../../../apps/worker/src/pool-member.js';
import { processesOf } from './processes.js';

/** Those that were not killed. */
export const programs = new Set<PoolProgram>();

/** A pool in a program of its own. */
export class PoolProgram {
  private readonly child: ChildProcess;
  private readonly closed: Promise<unknown>;
  private lost = '';
  begun = false;
  ended = false;
  readonly outcomes: Outcome[] = [];

  constructor(options: PoolMemberOptions) {
    const script = 'test/fixtures/executors/pool-server.mjs';
    this.child = fork(script, [JSON.stringify(options)], { detached: true, execArgv: [] });
    this.closed = once(this.child, 'close');
    programs.add(this);
    this.child.on(
      'message',
      (message: Record<'type' | 'reason' | 'outcomes', string> & { final: boolean }) => {
        if (message.type === 'lost') this.lost = message.reason;
        if (message.type === 'begun') this.begun = true;
        if (message.type !== 'outcomes') return;
        this.outcomes.push(...parseOutcomes(message.outcomes));
        this.ended = message.final;
      },
    );
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** Runs a bundle of one shard to its end, or until `holds`. */
  async run(bundle: Bundle, holds = (): boolean => false): Promise<void> {
    Object.assign(this, { begun: false, ended: false });
    this.child.send(bundle);
    const end = performance.now() + 20_000;
    while (!this.ended && !(this.begun && holds())) {
      if (this.lost !== '') throw new Error(this.lost);
      if (performance.now() > end) throw new Error('The shard neither ended nor came so far.');
      await sleep(1);
    }
  }

  /** SIGKILL to the program and to the processes of its pool. */
  async kill(): Promise<void> {
    programs.delete(this);
    process.kill(-this.pid, 'SIGKILL');
    await this.closed;
    while (processesOf([this.pid]).length > 0) await sleep(5);
  }
}
