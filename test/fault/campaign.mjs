import { appendFileSync, cpSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FaultSystem } from './fault-system.mjs';
import { ledger_name } from './ledger-executor.mjs';
import { Random } from './random.mjs';
import { scenarios } from './scenarios.mjs';
import { judge } from './verdict.mjs';

const poll_ms = 200;
/** A plan that has left no ledger line for so long will leave none. Well beyond the bar, so that the verdict sees it missed. */
const stuck_ms = 150_000;
/** BullMQ looks for jobs of dead workers every 30 s, and buries a job when it has seen it twice. */
const redis_clear_max_ms = 100_000;
/** BullMQ trims its own events by whole nodes of a stream (`MAXLEN ~`), which have so many entries. */
const events_max = 100;
/** What stays in Redis when nothing is under way: whose it is, workers, what priming put into the cache, and the furniture of queues. */
const furniture = /^\{hxo\}:(owner|workers|worker:.*|cache:.*|bundles-[^:]+:(meta|id|marker|stalled-check))$/;

/**
 * A quiet plan, then plans under `times` faults, then a verdict from the store and the ledger. Kills everything that it
 * started, whatever happens.
 *
 * @param gap_max_ms longest time between two faults; undefined: the scenario's
 * @param tell told of each fault
 * @param evidence folder for store, ledger and logs, made when the verdict is not ok
 */
export async function runCampaign({ scenario, seed, times, shards, workers, gap_max_ms, tell, evidence }) {
  const system = new FaultSystem();
  const dispose = () => system.dispose();
  process.once('exit', dispose);
  try {
    await system.start(workers);
    const campaign = new Campaign(system, { scenario, seed, times, shards, gap_max_ms, tell });
    const outcome = await campaign.run();
    if (outcome.problems.length > 0) keep(system, evidence);
    return outcome;
  } catch (error) {
    keep(system, evidence);
    throw error;
  } finally {
    dispose();
    process.off('exit', dispose);
  }
}

class Campaign {
  #plan_ids = [];
  #dealt = 0;
  #given_up = false;
  #faults = [];
  #problems = [];
  #begun = performance.now();

  constructor(system, options) {
    this.system = system;
    this.options = options;
  }

  async run() {
    const { system } = this;
    const { shards, times, tell } = this.options;
    await this.#runPlan();
    const [{ phase, ms }] = system.rows('SELECT phase, finished_at - submitted_at AS ms FROM plan');
    if (phase !== 'succeeded')
      throw new Error(`The quiet run ended ${phase}: no fault is needed to see that.`);
    tell(`quiet run: ${shards} shards in ${(ms / 1000).toFixed(1)} s`);
    await Promise.all([this.#plansUntilDealt(), this.#deal()]);
    const redis_clear_s = this.#given_up ? null : await this.#redisCleared();
    this.#problems.push(...system.unasked_exits, ...(await system.stop()));
    const damage = system.verifyStore();
    if (damage !== null) this.#problems.push(`hxo verify --store: ${damage}`);
    const { db_path, ledger_path } = system;
    const judged = judge({ db_path, ledger_path, plan_ids: this.#plan_ids, shards });
    const problems = [...this.#problems, ...judged.problems];
    if (this.#dealt < times) problems.push(`${this.#dealt} faults were dealt, not ${times}.`);
    return { problems, plans: judged.plans, faults: this.#faults, redis_clear_s, seconds: this.#seconds() };
  }

  async #plansUntilDealt() {
    while (this.#dealt < this.options.times && !this.#given_up) {
      await this.#runPlan().catch((error) => this.#giveUp(error.message));
    }
  }

  async #runPlan() {
    const { system } = this;
    const number = this.#plan_ids.length + 1;
    appendFileSync(system.ledger_path, `plan ${number}\n`);
    const plan_id = await system.submit(number, this.options.shards);
    this.#plan_ids.push(plan_id);
    let bytes = 0;
    let grown = performance.now();
    while (!this.#hasEnded(plan_id)) {
      const { size } = statSync(system.ledger_path);
      if (size !== bytes) grown = performance.now();
      bytes = size;
      if (performance.now() - grown > stuck_ms) throw new Error(await this.#stuck(number, plan_id));
      await sleep(poll_ms);
    }
  }

  #hasEnded(plan_id) {
    const [row] = this.system.rows('SELECT finished_at FROM plan WHERE plan_id = ?', plan_id);
    return row !== undefined && row.finished_at !== null;
  }

  async #stuck(number, plan_id) {
    const status = await this.system
      .client()
      .then((client) => client.status(plan_id))
      .catch((error) => ({ no_status: error.message }));
    return `plan ${number} is stuck: no ledger line for ${stuck_ms / 1000} s. ${JSON.stringify(status)}`;
  }

  #giveUp(problem) {
    this.#given_up = true;
    this.#problems.push(problem);
  }

  /** Deals the faults at random moments at which a plan runs. */
  async #deal() {
    const { scenario, seed, times, gap_max_ms } = this.options;
    const { deal, gap_ms } = scenarios[scenario];
    const [gap_min_ms, longest_ms] = gap_ms;
    const gap = [Math.min(gap_min_ms, gap_max_ms ?? Infinity), gap_max_ms ?? longest_ms];
    const random = new Random(seed);
    while (this.#dealt < times && !this.#given_up) {
      await sleep(random.between(gap));
      while (!this.#given_up && !this.#runs()) await sleep(poll_ms / 4);
      if (this.#given_up) return;
      const at_s = this.#seconds();
      const progress = this.#progress();
      try {
        const what = await deal(this.system, random);
        this.#note(at_s, what, progress);
      } catch (error) {
        this.#giveUp(`fault ${this.#dealt + 1} could not be dealt: ${error.stack}`);
      }
    }
  }

  #note(at_s, what, progress) {
    const { times, tell } = this.options;
    this.#dealt++;
    this.#faults.push({ at_s, what, progress });
    tell(`${at_s.toFixed(1).padStart(7)} s  fault ${this.#dealt}/${times}: ${what}; at ${progress}`);
  }

  #runs() {
    // Between two plans the last one has ended, and the next one has no id yet.
    return !this.#hasEnded(this.#plan_ids.at(-1));
  }

  #progress() {
    const [row] = this.system.rows(
      `SELECT plan.phase, stage.done, stage.total FROM plan JOIN stage USING (plan_no)
       WHERE plan_id = ?`,
      this.#plan_ids.at(-1),
    );
    return `plan ${this.#plan_ids.length} ${row.phase}, ${row.done} of ${row.total} shards`;
  }

  /** Waits until nothing is left in Redis. Returns how long that took, in seconds. */
  async #redisCleared() {
    const begun = performance.now();
    for (;;) {
      const left = await this.system.withRedis(leftIn).catch((error) => [`no answer: ${error.message}`]);
      const ms = performance.now() - begun;
      if (left.length === 0) return Math.round(ms / 100) / 10;
      // Nothing that is still to come takes BullMQ's events away.
      if (ms > redis_clear_max_ms || left.every((key) => key.includes(':events '))) {
        const named = left.slice(0, 20).join(', ');
        this.#problems.push(`Left in Redis after ${Math.round(ms / 1000)} s: ${named}`);
        return null;
      }
      await sleep(1_000);
    }
  }

  #seconds() {
    return Math.round((performance.now() - this.#begun) / 100) / 10;
  }
}

async function leftIn(redis) {
  const left = [];
  for (const key of await redis.keys('*')) {
    if (furniture.test(key)) continue;
    const entries = (await redis.type(key)) === 'stream' ? await redis.xlen(key) : null;
    // A stream whose entries are all taken stays, empty.
    if (entries === 0 || (key.endsWith(':events') && entries <= events_max)) continue;
    left.push(entries === null ? key : `${key} (${entries} entries)`);
  }
  return left;
}

function keep(system, evidence) {
  mkdirSync(evidence, { recursive: true });
  for (const name of ['home/checkpoints.db', 'home/checkpoints.db-wal', ledger_name, 'logs']) {
    const from = join(system.folder, name);
    if (statSync(from, { throwIfNoEntry: false })) cpSync(from, join(evidence, name), { recursive: true });
  }
}
