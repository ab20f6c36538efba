import { setTimeout as sleep } from 'node:timers/promises';

/** That a killed server is up again before the next fault is due. */
const up_again_probability = 0.7;
const pause_ms = 20_000;
/** Past the lease of 30 s. */
const stopped_ms = [35_000, 40_000];
const break_ms = [200, 5_000];
const long_break_ms = [32_000, 38_000];
const long_break_probability = 0.06;

/**
 * What is done to a running system. Each has the number of times in a whole campaign, the time between two faults, and `deal`,
 * which deals one and returns what it did, in words, once it is over.
 */
export const scenarios = {
  'worker-kill': {
    says: 'SIGKILL of a worker and its pool, started again at once; some kills meet one that starts',
    times: 50,
    gap_ms: [200, 3_000],
    async deal(system, random) {
      const role = random.pick(system.worker_roles);
      return killed(system, role, random);
    },
  },
  'api-kill': {
    says: 'SIGKILL of the API, started again at once; some kills meet it while it recovers',
    times: 50,
    gap_ms: [300, 8_000],
    deal: (system, random) => killed(system, 'api', random),
  },
  'redis-kill': {
    says: 'SIGKILL of Redis, started again empty, now and then past the lease',
    times: 20,
    gap_ms: [500, 5_000],
    async deal(system, random) {
      const away_ms = random.between(random.chance(long_break_probability) ? long_break_ms : [0, 3_000]);
      await system.redis.kill();
      await sleep(away_ms);
      await system.redis.launch();
      return `redis killed, back and empty after ${seconds(away_ms)}`;
    },
  },
  flushall: {
    says: 'FLUSHALL',
    times: 20,
    gap_ms: [500, 4_000],
    async deal(system) {
      await system.withRedis((redis) => redis.flushall());
      return 'redis flushed';
    },
  },
  'client-pause': {
    says: `CLIENT PAUSE ${pause_ms}`,
    times: 10,
    gap_ms: [1_000, 5_000],
    async deal(system) {
      await system.withRedis((redis) => redis.client('PAUSE', pause_ms));
      await sleep(pause_ms);
      return `redis paused for ${seconds(pause_ms)}`;
    },
  },
  sigstop: {
    says: 'SIGSTOP of a worker for longer than its lease, then SIGCONT',
    times: 10,
    gap_ms: [1_000, 5_000],
    async deal(system, random) {
      const role = random.pick(system.worker_roles);
      const duration_ms = random.between(stopped_ms);
      const pid = system.signal(role, 'SIGSTOP');
      await sleep(duration_ms);
      system.signal(role, 'SIGCONT');
      return `${role} (pid ${pid}) stopped for ${seconds(duration_ms)}`;
    },
  },
  'tcp-cut': {
    says: 'the network between workers and Redis: cut, reset, slow, one-way or silent; now and then past the lease',
    times: 50,
    gap_ms: [200, 2_000],
    async deal(system, random) {
      const kind = random.pick(Object.keys(breaks));
      const some = random.chance(0.3) ? system.worker_roles : [random.pick(system.worker_roles)];
      const duration_ms = random.between(random.chance(long_break_probability) ? long_break_ms : break_ms);
      const proxies = some.map((role) => system.proxies[system.worker_roles.indexOf(role)]);
      return `${some.join(' and ')}: ${await breaks[kind](proxies, duration_ms, random)}`;
    },
  },
};

/** Often the next fault comes only after the new server works, now and then while it starts. */
async function killed(system, role, random) {
  const pid = await system.restart(role);
  if (random.chance(up_again_probability)) await system.servers.get(role).listening();
  return `${role} (pid ${pid}) killed`;
}

/** Ways in which a network breaks. */
const breaks = {
  async cut(proxies, duration_ms) {
    await Promise.all(proxies.map((proxy) => proxy.cut(duration_ms)));
    return `cut for ${seconds(duration_ms)}`;
  },
  async reset(proxies) {
    for (const proxy of proxies) proxy.reset();
    return 'reset';
  },
  async slow(proxies, duration_ms, random) {
    const delay_ms = Math.round(random.between([20, 300]));
    await Promise.all(proxies.map((proxy) => proxy.slow(delay_ms, duration_ms)));
    return `slow by ${delay_ms} ms for ${seconds(duration_ms)}`;
  },
  async oneWay(proxies, duration_ms, random) {
    const direction = random.pick(['up', 'down']);
    return held(proxies, [direction], duration_ms, random.pick(['deliver', 'reset']));
  },
  async silent(proxies, duration_ms, random) {
    return held(proxies, ['up', 'down'], duration_ms, random.pick(['deliver', 'reset']));
  },
};

async function held(proxies, directions, duration_ms, then) {
  await Promise.all(proxies.map((proxy) => proxy.hold(directions, duration_ms, then)));
  return `${directions.join(' and ')} held for ${seconds(duration_ms)}, then ${then}`;
}

function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`;
}
