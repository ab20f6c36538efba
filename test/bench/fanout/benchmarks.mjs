import { fanOut } from './fan-out.mjs';

const status_p95_max_ms = 50;

/** 100,000 no-op shards: HXO embedded and federated against BullMQ with one job for each shard, and BullMQ Flow. */
export async function fanOutAgainstPeers() {
  const peers = ['bullmq', 'embedded', 'federated'];
  const runs = await fanOut({ shards: 100_000, peers, rounds: 3 });
  const flow = await fanOut({ shards: 20_000, peers: ['flow'], rounds: 1 });
  const base = median(runs, 'bullmq', 'shards_per_s');
  const goals = { embedded: 8, federated: 6 };
  const ratios = ['embedded', 'federated'].map((peer) => {
    const times_bullmq = round(median(runs, peer, 'shards_per_s') / base);
    return { peer, shards_per_s: median(runs, peer, 'shards_per_s'), times_bullmq, goal: goals[peer] };
  });
  return {
    tables: { runs: [...runs, ...flow], 'medians, against plain BullMQ': ratios },
    met: ratios.every(({ times_bullmq, goal }) => times_bullmq >= goal),
  };
}

/** A million no-op shards federated, after 100,000 for comparison: medians of three. */
export async function million() {
  const small = await fanOut({ shards: 100_000, peers: ['federated'], rounds: 3 });
  const large = (await fanOut({ shards: 1_000_000, peers: ['federated'], rounds: 3 })).map((run) => ({
    ...run,
    share_of_certification: shareOfCertification(run.phases),
  }));
  const of = (column) => median(large, 'federated', column);
  const redis_growth = round(of('redis_peak_mb') / median(small, 'federated', 'redis_peak_mb'));
  const goals = [
    ['shards_per_s', of('shards_per_s'), '>=', 60_000],
    ['redis_peak_mb', of('redis_peak_mb'), '<=', 20],
    ['redis peak, times that of 100,000', redis_growth, '<=', 1.3],
    ['api_mb', of('api_mb'), '<=', 450],
    ['worker_mb', of('worker_mb'), '<=', 250],
    ['db_mb', of('db_mb'), '<=', 500],
    ['status_p95_ms', of('status_p95_ms'), '<=', status_p95_max_ms],
    ['loop_p99_ms', of('loop_p99_ms'), '<=', 100],
    ['share of certification', of('share_of_certification'), '<=', 0.15],
  ].map(([what, value, relation, goal]) => ({
    what,
    value,
    goal: `${relation} ${goal}`,
    met: relation === '>=' ? value >= goal : value <= goal,
  }));
  return { tables: { runs: [...small, ...large], goals }, met: goals.every(({ met }) => met) };
}

/** How long it takes to be told how far a plan is, while it runs: `GET status` against BullMQ's counts of its jobs. */
export async function status() {
  const runs = [];
  for (const shards of [10_000, 100_000, 500_000]) {
    for (const peer of ['embedded', 'federated', ...(shards > 100_000 ? [] : ['bullmq'])]) {
      const [run] = await fanOut({ shards, peers: [peer], rounds: 1, asks: true });
      runs.push({
        peer,
        shards,
        ...run.status,
        goal_p95_ms: peer === 'bullmq' ? '' : `<= ${status_p95_max_ms}`,
      });
    }
  }
  const met = runs.every(({ peer, p95_ms }) => peer === 'bullmq' || p95_ms <= status_p95_max_ms);
  return { tables: { answers: runs }, met };
}

/** Shards that wait 20 ms on 1, 2 and 4 worker processes of 8 slots each. */
export async function scaling() {
  const runs = [];
  for (const workers of [1, 2, 4]) {
    const options = {
      shards: 8_000,
      peers: ['federated'],
      rounds: 3,
      workers,
      concurrency: 8,
      kind: 'wait',
    };
    runs.push(...(await fanOut(options)).map((run) => ({ ...run, workers })));
  }
  const of = (workers) =>
    median(
      runs.filter((run) => run.workers === workers),
      'federated',
      'shards_per_s',
    );
  const goals = { 2: 1.8, 4: 3.4 };
  const ratios = [2, 4].map((workers) => ({
    workers,
    shards_per_s: of(workers),
    times_one: round(of(workers) / of(1)),
    goal: goals[workers],
  }));
  return {
    tables: { runs, 'medians, against one worker': ratios },
    met: ratios.every(({ times_one, goal }) => times_one >= goal),
  };
}

function shareOfCertification(phases) {
  const seconds = Object.values(phases).reduce((sum, each) => sum + each, 0);
  return round(((phases.aggregating ?? 0) + (phases.certifying ?? 0)) / seconds);
}

function median(runs, peer, column) {
  const values = runs.filter((run) => run.peer === peer).map((run) => run[column]);
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

function round(value) {
  return Math.round(value * 100) / 100;
}
