/** Starting and ending as an operator sees them: refusals in one line, `npm start` under SIGTERM, and what the log tells. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { childEnvironment, type Environment } from '#settings';
import { RedisProcess } from '../../apps/cli/src/redis-process.js';
import { leftOf } from './support/processes.js';
import { System } from './support/system.js';

const mains = { server: 'dist/apps/api/src/main.js', worker: 'dist/apps/worker/src/main.js' };

let system: System;
beforeEach(() => (system = new System()));
afterEach(() => system.dispose());

function environment(variables: Environment): NodeJS.ProcessEnv {
  const { home, workspace } = system;
  const own = {
    HXO_HOME: home,
    HXO_WORKSPACE: workspace,
    HXO_PORT: '0',
    HXO_WORKER_PORT: '0',
    HXO_LOG_FILE: '',
  };
  return childEnvironment({ ...own, ...variables });
}

function run(program: keyof typeof mains, variables: Environment): ChildProcess {
  return spawn(process.execPath, [join(process.cwd(), mains[program])], {
    cwd: system.folder,
    env: environment(variables),
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 20_000,
    killSignal: 'SIGKILL',
  });
}

/** Starts a program that is to refuse, and returns its one message. */
async function refusal(program: keyof typeof mains, variables: Environment): Promise<string> {
  const child = run(program, variables);
  let output = '';
  for (const stream of [child.stdout!, child.stderr!])
    stream.on('data', (chunk) => (output += String(chunk)));
  const [code] = (await once(child, 'close')) as [number | null];
  expect(code).toBe(1);
  expect(output).not.toMatch(/\s+at |node:|Error:/);
  const lines = output.trimEnd().split('\n');
  expect(lines).toHaveLength(1);
  const [line = ''] = lines;
  return line.startsWith('{') ? (JSON.parse(line) as { msg: string }).msg : line;
}

it.each([
  ['HXO_HOME', '/proc/hxo/home'],
  ['HXO_LOG_FILE', '/proc/hxo/app.log'],
  ['HXO_WORKSPACE', '/nowhere/at-all'],
  ['HXO_REDIS_URL', 'redis:6379'],
])('refuses to start with %s=%s in one line', async (variable, value) => {
  expect(await refusal('server', { [variable]: value })).toMatch(
    new RegExp(`^\\[HXO\\] The server refuses to start\\. Fix this setting .*: ${variable}=${value}: `),
  );
});

it.each([
  ['server', 'HXO_PORT'],
  ['worker', 'HXO_WORKER_PORT'],
] as const)('a %s names %s when another program has the port', async (program, variable) => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  const redis = program === 'worker' ? { HXO_REDIS_URL: 'redis://127.0.0.1:1' } : {};
  const said = await refusal(program, { ...redis, [variable]: String(port) });
  other.close();
  expect(said).toContain(`${variable}=${port}: another program listens on 127.0.0.1:${port}. Stop it, or `);
});

it.each(['start', 'start:worker'])('SIGTERM to npm alone ends what `npm run %s` began', async (script) => {
  const redis = script === 'start' ? null : await RedisProcess.start(system.folder);
  // Without the build before it, which is another script.
  const npm = spawn('npm', ['run', '--ignore-scripts', script], {
    env: environment(redis === null ? {} : { HXO_REDIS_URL: redis.url }),
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  const group = npm.pid!;
  try {
    const lines: string[] = [];
    const listening = new Promise<void>((resolve) => {
      createInterface({ input: npm.stdout }).on('line', (line) => {
        lines.push(line);
        if (line.includes('is listening')) resolve();
      });
    });
    await listening;
    npm.kill('SIGTERM');
    expect(await leftOf([group], 10_000)).toEqual([]);
    expect(lines.join('\n')).toMatch(/\[HXO\] (?:HXO|The worker) has stopped\./);
  } finally {
    if ((await leftOf([group], 0)).length > 0) process.kill(-group, 'SIGKILL');
    await redis?.kill();
  }
});

it('the log tells of a plan and its stages, for grep HXO', async () => {
  system.writeMany(3);
  await system.start();
  const { plan_id } = await system.run({ id: 'pack', kind: 'deploy.pack', slo_ms: 60_000 });
  const told = readFileSync(join(system.folder, 'logs/app.log'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { msg: string; plan_id?: string })
    .filter((line) => line.plan_id === plan_id)
    .map(({ msg }) => msg.replace(`[HXO] Plan ${plan_id}: `, '').replace(/[0-9a-f]{64}|\d+/g, '#'));
  expect(told).toEqual([
    'plan.submit by admiral.',
    'submitted (e#e).',
    'is cut into shards.',
    'runs; shards: #, done # (reused #), failed #, skipped #.',
    expect.stringMatching(/^stage pack done in # s; shards: #, /),
    'certificate issued, root #.',
    expect.stringMatching(/^succeeded in # s; shards: #, /),
  ]);
});

it('a disabled server says so to probes and to hxo doctor', async () => {
  await system.start({ HXO_ENABLED: 'false' });
  const { status, body } = await system.ask('GET', '/health/ready', { authorization: null });
  expect([status, body.status, body.detail]).toEqual([
    200,
    'disabled',
    expect.stringContaining('HXO_ENABLED=false'),
  ]);
  const { stdout } = await system.hxo('doctor');
  expect(stdout).toMatch(/^warning +server: .*HXO_ENABLED=false/m);
});

it('ends under SIGTERM while Redis is away', async () => {
  const child = run('server', { HXO_REDIS_URL: 'redis://127.0.0.1:1' });
  for await (const line of createInterface({ input: child.stdout! }))
    if (line.includes('is listening')) break;
  child.stdout!.resume();
  const begun = performance.now();
  child.kill('SIGTERM');
  expect(await once(child, 'exit')).toEqual([0, null]);
  expect(performance.now() - begun).toBeLessThan(8_000);
});

it('a worker shows its health to other machines without tokens, and ends under SIGTERM after Redis has gone', async () => {
  const redis = await RedisProcess.start(system.folder);
  const child = run('worker', { HXO_HOST: '0.0.0.0', HXO_REDIS_URL: redis.url, HXO_DRAIN_MS: '1000' });
  for await (const line of createInterface({ input: child.stdout! }))
    if (line.includes('is listening')) break;
  let output = '';
  child.stdout!.on('data', (chunk) => (output += String(chunk)));
  await redis.kill();
  const begun = performance.now();
  child.kill('SIGTERM');
  expect(await once(child, 'close')).toEqual([0, null]);
  expect(performance.now() - begun).toBeLessThan(8_000);
  expect(output).toContain(
    'Redis did not answer within 3000 ms. Bundles without a last report, to run again: 0.',
  );
});
