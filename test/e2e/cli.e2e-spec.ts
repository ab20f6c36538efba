import { spawn, type ChildProcess } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  artifactDigest,
  certificate,
  failed_status,
  FakeHxoServer,
  key,
  later_event,
  plan_id,
  receipt,
  report,
  root,
  submitted_status,
  succeeded_status,
} from './fake-hxo-server.js';

/** The command as it is installed: compiled, in a process of its own. */
const hxo_main = resolve('dist/apps/cli/src/main.js');

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

let server: FakeHxoServer;
let folder: string;

beforeEach(async () => {
  server = new FakeHxoServer();
  await server.start();
  folder = mkdtempSync(join(tmpdir(), 'hxo-cli-'));
});
afterEach(async () => {
  await server.stop();
  rmSync(folder, { recursive: true });
});

/** Runs `hxo` to its end; `during` may act on it meanwhile. */
async function hxo(
  args: readonly string[],
  options: {
    input?: string;
    env?: Record<string, string>;
    during?: (child: ChildProcess, output: () => string) => Promise<void>;
  } = {},
): Promise<Ended> {
  const child = spawn(process.execPath, [hxo_main, ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH, HXO_URL: server.url, ...options.env },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  child.stdin.end(options.input ?? '');
  const ended = new Promise<number | null>((done) => child.once('close', done));
  await options.during?.(child, () => stdout + stderr);
  return { code: await ended, stdout, stderr };
}

async function until(holds: () => boolean): Promise<void> {
  for (const end = Date.now() + 10_000; !holds(); await sleep(20)) {
    if (Date.now() > end) throw new Error('What was waited for did not happen within 10 s.');
  }
}

function file(name: string, content: unknown): string {
  const path = join(folder, name);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

const plan = { name: 'my_plan', stages: [{ id: 'stage_1', kind: 'deploy.pack' }] };
const plan_yaml = 'name: my_plan\nstages:\n  - id: stage_1\n    kind: deploy.pack\n';
const public_pem = key.publicKey.export({ type: 'spki', format: 'pem' }).toString();

describe('hxo', () => {
  it('names its version, and its exit codes in --help', async () => {
    expect((await hxo(['--version'])).stdout).toBe('1.9.6n\n');
    const { code, stdout } = await hxo(['--help']);
    expect(code).toBe(0);
    for (const line of ['130  interrupted', 'Examples:', 'unpack', 'doctor']) expect(stdout).toContain(line);
  });

  it.each([
    [[]],
    [['fly']],
    [['status']],
    [['status', 'x', '--role', 'king']],
    [['status', '..']],
    [['plans', '--limit', '0']],
    [['search']],
    [['status', 'x', '--token', 't', '--role', 'captain']],
    [['status', 'x', '--url', 'ftp://x']],
    [['submit', 'missing.json']],
    [['verify', 'missing.json']],
  ])('ends 2 on wrong usage: %j', async (args) => {
    const { code, stdout, stderr } = await hxo(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).not.toMatch(/\n\s+at /);
    expect(server.seen).toEqual([]);
  });

  it.each([
    ['an unknown option', ['verify', '--nope', '--json'], /unknown option '--nope'/],
    ['an unknown command', ['--json', 'nope'], /unknown command 'nope'/],
    ['a missing argument', ['--json', 'unpack', 'p'], /missing required argument 'stage'/],
    ['a bad value', ['--json', 'shards', 'p', '--limit', 'x'], /A whole number from 1/],
    ['no command', ['--json'], /hxo --help/],
    ['a store that is not there', ['--json', 'verify', '--store', 'none'], /no checkpoint store none/],
  ])('ends 2 on wrong usage, and says so in JSON under --json: %s', async (_, args, detail) => {
    const { code, stdout, stderr } = await hxo(args);
    expect([code, stdout]).toEqual([2, '']);
    const expected = {
      code: 'USAGE',
      detail: expect.stringMatching(detail) as string,
      errors: [],
      exit_code: 2,
    };
    expect(JSON.parse(stderr)).toEqual(expected);
  });

  it('ends 3 when no server answers, and says how to start one', async () => {
    await server.stop();
    const { code, stderr } = await hxo(['status', plan_id]);
    expect(code).toBe(3);
    expect(stderr).toContain('ECONNREFUSED');
    expect(stderr).toContain('npm start');
  });

  it('ends 4 on a refusal and 5 on a failure, with code, detail and field errors', async () => {
    const unknown = await hxo(['status', 'nowhere']);
    expect(unknown.code).toBe(4);
    expect(unknown.stderr).toContain('hxo: PLAN_NOT_FOUND: Nothing at');
    const broken = await hxo(['status', 'broken', '--json']);
    expect(broken.code).toBe(5);
    expect(broken.stdout).toBe('');
    expect(JSON.parse(broken.stderr)).toEqual({
      code: 'INTERNAL',
      detail: 'Look for 4711 in the log.',
      errors: [],
      exit_code: 5,
    });
    const refused = await hxo(['submit', '-'], {
      input: JSON.stringify({ name: 'x', stages: [{ kind: 'fly' }] }),
    });
    expect(refused.code).toBe(4);
    expect(refused.stderr).toContain('BLUEPRINT_VIOLATION: The plan breaks its contract.');
    expect(refused.stderr).toContain('  stages[0].kind: must be one of deploy.pack');
  });

  it('speaks as Admiral on loopback, or as it is told', async () => {
    const spoken = async (args: string[], env = {}) => {
      await hxo(['abort', plan_id, ...args], { env });
      return server.seen.at(-1)?.authorization;
    };
    expect(await spoken([])).toBe('Admiral');
    expect(await spoken(['--role', 'captain'])).toBe('Captain');
    expect(await spoken(['--role', 'none'])).toBeUndefined();
    expect(await spoken(['--token', 'abc'])).toBe('Bearer abc');
    expect(await spoken([], { HXO_TOKEN: 'def' })).toBe('Bearer def');
    expect(await spoken(['--role', 'captain'], { HXO_TOKEN: 'def' })).toBe('Captain');
    const { code, stderr } = await hxo(['abort', plan_id, '--role', 'captain']);
    expect(code).toBe(4);
    expect(stderr).toMatch(/FORBIDDEN: Admirals only\..*HXO_TOKEN/);
  });

  it('names --url when that is what cannot be used, and HXO_URL otherwise', async () => {
    const option = await hxo(['status', plan_id, '--url', 'foo']);
    expect(option.stderr).toMatch(/--url foo cannot be used: give an http/);
    expect(option.stderr).not.toMatch(/HXO_URL|\.env/);
    const { code, stderr } = await hxo(['status', plan_id], { env: { HXO_URL: 'bar' } });
    expect(code).toBe(2);
    expect(stderr).toContain('in the environment or in .env: HXO_URL=bar');
  });

  it('takes the server from .env, the environment and --url, the later the stronger', async () => {
    file('.env', `HXO_URL=${server.url}`);
    expect((await hxo(['status', plan_id], { env: { HXO_URL: '', HXO_PORT: '1' } })).code).toBe(3);
    const nowhere = { HXO_URL: 'http://127.0.0.1:1' };
    expect((await hxo(['status', plan_id], { env: nowhere })).code).toBe(3);
    expect((await hxo(['status', plan_id, '--url', server.url], { env: nowhere })).code).toBe(0);
  });
});

describe('submit', () => {
  it('sends JSON as it was written, and a key if given', async () => {
    const source = '{ "name": "my_plan",\n "stages": [{"id":"stage_1","kind":"deploy.pack"}] }';
    const { code, stdout } = await hxo(['submit', file('plan.json', source), '--idempotency-key', 'k1']);
    expect(code).toBe(0);
    expect(stdout).toContain(`hxo watch ${plan_id}`);
    expect(server.seen).toEqual([expect.objectContaining({ body: source, idempotency_key: 'k1' })]);
  });

  it('converts YAML, from a file or standard input, and reads JSON from there too', async () => {
    for (const run of [
      () => hxo(['submit', file('plan.yaml', plan_yaml)]),
      () => hxo(['submit', '-'], { input: plan_yaml }),
      () => hxo(['submit', '-'], { input: JSON.stringify(plan) }),
    ]) {
      expect((await run()).code).toBe(0);
      expect(JSON.parse(server.seen.at(-1)?.body ?? '')).toEqual(plan);
    }
  });

  it('refuses what cannot be parsed without asking the server', async () => {
    for (const path of [file('bad.json', '{"name": '), file('bad.yml', 'a: [1'), file('empty.yaml', '')]) {
      const { code, stderr } = await hxo(['submit', path]);
      expect(code).toBe(2);
      expect(stderr).toContain(path);
    }
    expect(server.seen).toEqual([]);
  });

  it('says what YAML made of a field that the server refuses', async () => {
    const { code, stderr } = await hxo(['submit', '-'], { input: 'name: x\nstages: [{ kind: 2024 }]\n' });
    expect(code).toBe(4);
    expect(stderr).toContain(
      'stages[0].kind: must be one of deploy.pack. YAML reads 2024 as the number 2024: for text, put it in quotes: "2024"',
    );
  });

  it('prints one JSON value under --json', async () => {
    const { stdout } = await hxo(['submit', file('plan.json', plan), '--json']);
    expect(JSON.parse(stdout)).toEqual({ plan_id, name: 'my_plan', status: 'submitted', total_shards: null });
  });

  it('follows the plan with --watch', async () => {
    const { code, stdout } = await hxo(['submit', file('plan.json', plan), '--watch']);
    expect(code).toBe(0);
    expect(stdout).toContain(`Plan ${plan_id} (my_plan) submitted.`);
    expect(stdout).toContain(`Plan ${plan_id} succeeded`);
  });
});

describe('watch', () => {
  it('prints plain lines when not on a terminal, and ends with the plan', async () => {
    const { code, stdout } = await hxo(['watch', plan_id]);
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).toBe('0/2 shards | ETA 13 s | running');
    expect(lines[1]).toMatch(/^2\/2 shards, 1 reused \| .*\/s \| succeeded$/);
    expect(lines[2]).toBe(
      `Plan ${plan_id} succeeded: 2 shards done, 1 of them reused. Root ${root}, certified.`,
    );
    expect(stdout).not.toContain('\u001b');
  });

  it('ends 1 when the plan fails, and says why and where to look', async () => {
    server.statuses = [submitted_status, failed_status];
    const { code, stdout } = await hxo(['watch', plan_id]);
    expect(code).toBe(1);
    expect(stdout).toContain('SHARDS_FAILED: One shard failed.');
    expect(stdout).toContain(`hxo report ${plan_id}`);
  });

  it('prints one status a line under --json', async () => {
    const { stdout } = await hxo(['watch', plan_id, '--json']);
    const phases = stdout
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { phase: string }).phase);
    expect(phases).toEqual(['running', 'succeeded']);
  });

  it('waits for a server that restarts, and says so on stderr', async () => {
    server.statuses = [submitted_status];
    const { code, stdout, stderr } = await hxo(['watch', plan_id], {
      during: async (_child, output) => {
        await until(() => output().includes('running'));
        await server.stop();
        await until(() => output().includes('Trying again'));
        server.statuses = [succeeded_status];
        await server.start();
      },
    });
    expect(code).toBe(0);
    expect(stdout).toContain('succeeded');
    expect(stderr).toContain('The server is back.');
  });

  it('leaves the plan alone on Ctrl-C, and says how to resume', async () => {
    server.statuses = [submitted_status];
    const { code, stderr } = await hxo(['watch', plan_id], {
      during: async (child, output) => {
        await until(() => output().includes('running'));
        child.kill('SIGINT');
      },
    });
    expect(code).toBe(130);
    expect(stderr).toContain(`hxo watch ${plan_id}`);
    expect(server.seen.every((request) => request.method === 'GET')).toBe(true);
  });
});

describe('reading', () => {
  it('status and report show what the server says, and the same as JSON', async () => {
    server.statuses = [succeeded_status];
    const status = await hxo(['status', plan_id]);
    expect(status.stdout).toContain('2 shards: 2 done (1 reused)');
    expect(JSON.parse((await hxo(['status', plan_id, '--json'])).stdout)).toEqual(succeeded_status);
    const { stdout } = await hxo(['report', plan_id]);
    for (const said of [
      'pack: met (limit 120000 ms, took 12000 ms)',
      '1 executed: content_changed',
      'pack: 2 of 7 items left out',
      artifactDigest('manifest'),
      'Two files were left out',
      root,
      key.key_id,
    ]) {
      expect(stdout).toContain(said);
    }
    expect(JSON.parse((await hxo(['report', plan_id, '--json'])).stdout)).toEqual(report);
  });

  it('a report lists failures, and what it shows cannot drive a terminal', async () => {
    const failure = { stage: 'pack', ordinal: 7, code: 'BOOM', message: '\u001b[31mred', failures: 3 };
    server.report = { ...report, plan_name: 'a\u0007b', failed_shards: 5, failures: [failure] };
    const { stdout } = await hxo(['report', plan_id]);
    expect(stdout).toMatch(/pack\/7 BOOM: .*red \(failed 3 times\)\n\s+and 4 more/);
    expect(stdout).not.toMatch(/[\u0007\u001b]/);
  });

  it('abort says that the plan is aborted', async () => {
    const { code, stdout } = await hxo(['abort', plan_id]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: `Plan ${plan_id} is aborted.\n` });
  });

  it('plans filters and lists', async () => {
    const { stdout } = await hxo(['plans', '--phase', 'succeeded', '--name', 'a b']);
    expect(stdout).toContain('deploy_backend');
    expect(server.seen[0]?.url).toBe('/api/hxo/plans?limit=100&phase=succeeded&name=a+b');
  });

  it('search asks with all its words, and shows what was found', async () => {
    const { code, stdout } = await hxo(['search', 'install', 'the guide', '--limit', '5', '--stage', 'docs']);
    expect(code).toBe(0);
    expect(server.seen[0]?.url).toBe('/api/hxo/search?q=install+the+guide&limit=5&stage=docs');
    expect(stdout).toMatch(
      /^ROUTE +TITLE +TEXT\n\/guide +The .guide +How to install it\n1 of 7 pages, from stage docs/,
    );
    expect(stdout).not.toContain('\u001b');
    const { items } = JSON.parse((await hxo(['search', 'guide', '--json'])).stdout) as { items: unknown[] };
    expect(items).toMatchObject([{ route: '/guide', score: 1.5 }]);
    expect((await hxo(['search', 'nothing'])).stdout).toMatch(/^No page of stage docs/);
  });

  it('shards turns pages up to its limit', async () => {
    const all = JSON.parse((await hxo(['shards', plan_id, '--json'])).stdout) as { items: unknown[] };
    expect(all.items).toHaveLength(2);
    const { stdout } = await hxo(['shards', plan_id, '--stage', 'pack']);
    expect(stdout).toContain('reused from plan older-plan');
    expect(stdout).toContain('executed: content_changed');
    expect((await hxo(['shards', plan_id, '--limit', '1'])).stdout).toContain('raise --limit');
  });

  it('events turns pages, and stops at its limit', async () => {
    const { stdout } = await hxo(['events', '--topic', 'hxo.shard.*', '--plan', plan_id, '--json']);
    const ids = stdout
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { id: string }).id);
    expect(ids).toEqual(['1', '2', '3']);
    expect(server.seen[0]?.url).toContain('topic=hxo.shard.*');
    expect((await hxo(['events', '--limit', '1'])).stdout.trimEnd().split('\n')).toHaveLength(1);
    expect((await hxo(['events', '--after', '2'])).stdout).toMatch(/^3 {2}.*hxo\.shard\.done/);
  });

  it('events of a plan that is not there say so', async () => {
    server.events = [];
    const { code, stderr } = await hxo(['events', '--plan', 'nope']);
    expect(code).toBe(4);
    expect(stderr).toContain('PLAN_NOT_FOUND');
    expect((await hxo(['events', '--plan', plan_id])).code).toBe(0);
  });

  it('events --follow goes on as events happen, through a restart', async () => {
    const { stdout } = await hxo(['events', '--follow', '--json'], {
      during: async (child, output) => {
        await until(() => output().includes('"id":"3"'));
        await server.stop();
        await until(() => output().includes('Trying again'));
        server.events.push(later_event);
        await server.start();
        await until(() => output().includes('"id":"4"'));
        child.kill('SIGINT');
      },
    });
    expect(stdout.trimEnd().split('\n')).toHaveLength(4);
  });

  it('does not complain when its reader has seen enough', async () => {
    const { code, stderr } = await hxo(['events', '--follow', '--json'], {
      during: async (child, output) => {
        await until(() => output().includes('"id":"3"'));
        child.stdout?.destroy();
        server.events.push(later_event);
      },
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });
});

describe('proofs', () => {
  it('are fetched as JSON and verified offline with a key from a file or as text', async () => {
    const pem = file('key.pem', public_pem);
    const raw = key.publicKey.export({ format: 'jwk' }).x ?? '';
    const documents = [
      ['report', plan_id, '--json'],
      ['certificate', plan_id],
      ['receipt', plan_id, 'pack', '1'],
    ];
    for (const args of documents) {
      const path = file('document.json', (await hxo(args)).stdout);
      for (const trusted of [pem, Buffer.from(raw, 'base64url').toString('base64')]) {
        const { code, stdout } = await hxo(['verify', path, '--key', trusted]);
        expect(stdout).toContain(`genuine. Root ${root}`);
        expect(code).toBe(0);
      }
    }
    await server.stop();
    const verified = ['verify', file('report.json', report), '--key', pem];
    expect((await hxo(verified)).stdout).toMatch(
      /\nsigned {6}.*merkle_root,.*stages\[\]\.done_shards,.*\nNOT signed {2}.*eta_seconds,.*outputs\[\]\.value/,
    );
    const { fields } = JSON.parse((await hxo([...verified, '--json'])).stdout) as {
      fields: { signed: string[]; unsigned: string[] };
    };
    expect(fields.signed).toEqual(
      expect.arrayContaining(['phase', 'merkle_root', 'reuse.reused', 'outputs[].artifacts[].digest']),
    );
    expect(fields.unsigned).toEqual([
      'submitted_at',
      'eta_seconds',
      'waiting_for',
      'error',
      'stages[].scheduler',
      'stages[].phase',
      'stages[].total_final',
      'stages[].capped_by',
      'stages[].slo_ms',
      'stages[].dependencies',
      'stages[].started_at',
      'stages[].finished_at',
      'slo',
      'reuse.executed',
      'reuse.misses',
      'reuse.stages',
      'failures',
      'outputs[].value',
      'notes',
    ]);
    const piped = await hxo(['verify', '-', '--key', pem, '--json'], { input: JSON.stringify(receipt) });
    expect(JSON.parse(piped.stdout)).toMatchObject({ ok: true, kind: 'receipt', plan_id, root });
  });

  it('end 1 when tampered with, signed by another key, or without a key to trust', async () => {
    const pem = file('key.pem', public_pem);
    const forged = await hxo(['verify', file('r.json', { ...report, done_shards: 3 }), '--key', pem]);
    expect(forged.code).toBe(1);
    expect(forged.stdout).toMatch(/FAILED {2}done_shards: .*3/);
    expect(forged.stdout).toContain('NOT verified');
    const other = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }).toString();
    const path = file('c.json', certificate);
    expect((await hxo(['verify', path, '--key', file('other.pem', other)])).code).toBe(1);
    expect((await hxo(['verify', path])).code).toBe(1);
    expect((await hxo(['verify', path, '--key', 'no key at all'])).code).toBe(2);
    expect((await hxo(['verify', file('x.json', 'garbage'), '--key', pem])).code).toBe(1);
  });

  it('unpack refuses a stage without packs, and artifacts that are none', async () => {
    const unknown = await hxo(['unpack', plan_id, 'other', join(folder, 'out')]);
    expect(unknown.code).toBe(2);
    expect(unknown.stderr).toContain('Stages with output: pack.');
    const damaged = await hxo(['unpack', plan_id, 'pack', join(folder, 'out')]);
    expect(damaged.code).toBe(1);
    expect(damaged.stderr).toContain('UNPACK_FAILED');
    expect(damaged.stderr).not.toContain('restored in part');
  });
});

describe('doctor', () => {
  it('finds nothing wrong with a good setup', async () => {
    const { code, stdout } = await hxo(['doctor', '--json']);
    expect(JSON.parse(stdout)).toMatchObject({ ok: true });
    expect(code).toBe(0);
  });

  it('looks at the plans of every phase that is not an end', async () => {
    await hxo(['doctor']);
    const asked = server.seen.flatMap(({ url }) => /[?&]phase=(\w+)/.exec(url)?.[1] ?? []);
    expect(asked).toEqual(['submitted', 'partitioning', 'running', 'aggregating', 'certifying']);
  });

  it('says which findings are of this command and which of the server', async () => {
    const { stdout } = await hxo(['doctor'], { env: { HXO_HOME: join(folder, 'another') } });
    const [here, there] = stdout.split('\nThe server:\n');
    expect(here).toMatch(/^Here, by the settings of this command.*:\n[^]*ok +home: .*another/);
    expect(there).toMatch(/^ok +server: /);
    const { checks } = JSON.parse((await hxo(['doctor', '--json'])).stdout) as {
      checks: { name: string; of: string }[];
    };
    expect(checks.find(({ name }) => name === 'home')).toMatchObject({ of: 'command' });
    expect(checks.find(({ name }) => name === 'server')).toMatchObject({ of: 'server' });
  });

  it('names what is wrong and the way out', async () => {
    server.ready = false;
    const env = { HXO_WORKSPACE: join(folder, 'none'), HXO_SHARD_TIMEOUT_MS: '0' };
    const { code, stdout } = await hxo(['doctor'], { env });
    expect(code).toBe(1);
    expect(stdout).toMatch(/failed +workspace: .*HXO_WORKSPACE/);
    expect(stdout).toMatch(/warning +settings: HXO_SHARD_TIMEOUT_MS=0/);
    expect(stdout).toMatch(/failed +server: .*The disk is full\./);
  });

  it('tells of bad settings rather than ending at them', async () => {
    const secret = 'too-short';
    const env = { HXO_MAX_SHARDS: 'many', HXO_ADMIRAL_TOKEN: secret, HXO_URL: 'nowhere' };
    const { code, stdout, stderr } = await hxo(['doctor'], { env });
    expect(code).toBe(1);
    expect(stdout).toMatch(/failed +settings: HXO_MAX_SHARDS=many/);
    expect(stdout).toMatch(/failed +settings: HXO_ADMIRAL_TOKEN:/);
    expect(stdout).toMatch(/failed +server: .*HXO_URL=nowhere/s);
    expect(stdout + stderr).not.toContain(secret);
  });
});
