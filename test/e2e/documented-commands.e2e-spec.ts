import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { EventView, Page, ReportView, StatusView, SubmittedView } from '#hxo';
import { compareByWalking } from '../../apps/cli/src/compare-trees.js';
import { cli_main, DocumentedServer, itWith, type Problem } from './documented-server.js';
import { readDocument } from './documents.js';

/** What the documents tell people to type is typed here, against a real server. Runs from dist. */

const readme = readDocument('README.md');
const operations = readDocument('docs/HXO_OPERATIONS.md');
const contract = readDocument('docs/HXO_BLUEPRINT_CONTRACT.md');
const quick_reference = readDocument('test/fixtures/quick-reference.md');
const package_json = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };

const submit_command = quick_reference.section('2. Submit a Plan').commands[0]!;
const status_command = quick_reference.section('3. Monitor Status').commands[0]!;
const [minimal_plan, full_plan] = quick_reference.section('Plan Structure').json as [string, string];

const exported = quick_reference.blocks.flatMap((block) => block.text.match(/^export \w+=\S+$/gm) ?? []);
const variables = Object.fromEntries(
  exported.map((line) => line.slice('export '.length).split('=') as [string, string]),
);
const files = {
  ...Object.fromEntries(
    Array.from({ length: 30 }, (_, i) => [`workspace/src/module-${i}.txt`, 'line\n'.repeat(i + 1)]),
  ),
  'executors/count-lines.mjs': contract.blocks.find((block) => block.language === 'js')!.text,
};

let hxo: DocumentedServer;

beforeAll(async () => {
  expect(exported).toContain('export HXO_ENABLED=true');
  hxo = new DocumentedServer(variables, files);
  await hxo.start();
});
afterAll(() => hxo.stop());

describe('the quick reference', () => {
  itWith('curl')(
    'has a first plan that succeeds word for word; without migrations that stage is empty',
    async () => {
      const submitted = await hxo.curl<SubmittedView>(submit_command);
      expect(submitted).toMatchObject({ name: 'deploy_backend', status: 'submitted' });
      const status = await hxo.ended(submitted.plan_id);
      expect(status).toMatchObject({
        phase: 'succeeded',
        truth_certified: true,
        stages: [
          { id: 'pack', phase: 'done', matched: 30, slo_ms: 120_000 },
          { id: 'migrate', phase: 'done', total_shards: 0, slo_ms: 30_000 },
        ],
      });
      expect(status.stages[0]!.done_shards).toBeGreaterThan(0);
    },
  );

  itWith('curl')('has a first plan that packs a workspace and migrates the database in it', async () => {
    const migrating = new DocumentedServer(
      { ...variables, HXO_TARGET_DEFAULT_URL: 'sqlite:workspace/app.db' },
      {
        ...files,
        'workspace/app.db': '',
        'workspace/migrations/0001_pet.sql':
          'CREATE TABLE pet (id INTEGER PRIMARY KEY, name TEXT NOT NULL);\n',
        'workspace/migrations/0002_first.sql': "INSERT INTO pet (name) VALUES ('Ada'), ('Bo');\n",
      },
    );
    try {
      await migrating.start();
      const { plan_id } = await migrating.curl<SubmittedView>(submit_command);
      expect(await migrating.ended(plan_id)).toMatchObject({
        phase: 'succeeded',
        truth_certified: true,
        stages: [
          // The modules and the migrations, but not the database that the other stage writes.
          { id: 'pack', phase: 'done', matched: 32 },
          // The two files, and the preflight before them.
          { id: 'migrate', phase: 'done', total_shards: 3, done_shards: 3 },
        ],
      });
      const target = new Database(join(migrating.folder, 'workspace/app.db'), { readonly: true });
      expect(target.prepare('SELECT name FROM pet ORDER BY id').pluck().all()).toEqual(['Ada', 'Bo']);
      target.close();
    } finally {
      await migrating.stop();
    }
  });

  it.each([
    ['minimal', minimal_plan],
    ['full', full_plan],
  ])('has a %s plan that succeeds, with every field of its status', async (_, plan) => {
    const status = await hxo.ended(await hxo.submit(plan));
    const documented = JSON.parse(quick_reference.section('Status Response').json[0]!) as StatusView;
    expect(Object.keys(status)).toEqual(expect.arrayContaining(Object.keys(documented)));
    const numbers = Object.entries(documented).filter(([, value]) => typeof value === 'number');
    for (const [field] of numbers) expect(status).toHaveProperty(field, expect.any(Number));
    const whole_seconds = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/) as string;
    expect(status).toMatchObject({
      plan_id: expect.any(String) as string,
      plan_name: (JSON.parse(plan) as { name: string }).name,
      phase: 'succeeded',
      done_shards: status.total_shards,
      merkle_root: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
      truth_certified: true,
      started_at: whole_seconds,
      finished_at: whole_seconds,
      eta_seconds: 0,
    });
    expect(status.total_shards).toBeGreaterThan(0);
    expect(status.stages[0]).toMatchObject({ matched: 30, taken: 30, truncated: 0 });
  });

  itWith('curl')('reads status and report of a plan', async () => {
    const plan_id = await hxo.submit(minimal_plan);
    await hxo.ended(plan_id);
    expect(await hxo.curl<StatusView>(status_command, plan_id)).toMatchObject({
      plan_id,
      phase: 'succeeded',
    });
    const report_command = quick_reference.section('Get Final Report').commands[0]!;
    const report = await hxo.curl<ReportView>(report_command, plan_id);
    expect(report).toMatchObject({ plan_id, final: true, truth_certified: true });
    expect(report.certificate).not.toBeNull();
  });

  itWith('curl')('aborts a plan, and says so when it has ended', async () => {
    const abort_command = quick_reference.section('Abort a Plan').commands[0]!;
    const waiting = await hxo.submit(minimal_plan, 'plan');
    expect(await hxo.curl(abort_command, waiting)).toEqual({ plan_id: waiting, status: 'aborted' });
    const over = await hxo.submit(minimal_plan);
    await hxo.ended(over);
    expect(await hxo.curl(abort_command, over)).toMatchObject({ status: 409, code: 'PLAN_FINISHED' });
  });

  itWith('curl')('has its submission refused when it is not as documented', async () => {
    const altered: [string, string, object][] = [
      ['Authorization: Admiral', 'Authorization: Captain', { status: 403, code: 'FORBIDDEN' }],
      ['-H "Authorization: Admiral"', '', { status: 401, code: 'UNAUTHENTICATED' }],
      ['deploy.migrate', 'deploy.fly', { status: 422, code: 'BLUEPRINT_VIOLATION' }],
      ['"name": "deploy_backend",', '"name": ', { status: 400, code: 'MALFORMED_JSON' }],
    ];
    const before = await hxo.planIds();
    for (const [from, to, answer] of altered) {
      expect(submit_command).toContain(from);
      const problem = await hxo.curl<Problem>(submit_command.replace(from, to));
      expect(problem).toMatchObject(answer);
      if (to !== 'deploy.fly') continue;
      for (const [kind] of contract.section('Job kinds').tables[0]!) {
        expect(problem.detail).toContain(kind!.replaceAll('`', ''));
      }
    }
    expect(await hxo.planIds()).toEqual(before);
  });

  describe('watching', () => {
    const watch_command = quick_reference.section('Watch Status in Real-Time').commands[0]!;

    itWith('curl jq')('pipes a status into jq', async () => {
      const plan_id = await hxo.submit(minimal_plan);
      const [, pipe] = /^watch -n 2 "(.+)"$/.exec(watch_command)!;
      expect(await hxo.curl<StatusView>(pipe!, plan_id)).toMatchObject({ plan_id });
    });

    itWith('curl jq watch script timeout')('shows it on a terminal', async () => {
      const plan_id = await hxo.submit(minimal_plan);
      await hxo.ended(plan_id);
      hxo.write('watch.sh', `stty rows 50 cols 120\n${hxo.here(watch_command, plan_id)}\n`);
      const { stdout } = await hxo.run(`script -qec 'bash watch.sh' /dev/null`);
      expect(stdout).toContain(`"plan_id": "${plan_id}"`);
    });
  });

  describe('troubleshooting', () => {
    itWith('bash tail timeout grep')('finds settings and log lines', async () => {
      const commands = quick_reference.section('Plan Not Starting').commands;
      expect(commands).toHaveLength(3);
      const { stdout } = await hxo.run(commands.join('\n'));
      const [enabled, genesis, ...log] = stdout.trim().split('\n');
      expect([enabled, genesis]).toEqual(['true', 'enabled']);
      expect(log.length).toBeGreaterThan(0);
      for (const line of log)
        expect(JSON.parse(line)).toHaveProperty('msg', expect.stringContaining('[HXO]'));
    });

    itWith('curl')('finds failed shards and their events', async () => {
      // Files larger than a chunk are cut, which this executor refuses.
      const config = { chunk_size_mb: 0.0001 };
      const stages = [{ id: 'count', kind: 'text.count', config }];
      const plan_id = await hxo.submit(JSON.stringify({ name: 'fails', stages }));
      await hxo.ended(plan_id);
      const [status, events] = quick_reference.section('Shards Failing').commands as [string, string];
      const shown = await hxo.curl<StatusView>(status, plan_id);
      expect(shown).toMatchObject({ phase: 'failed', truth_certified: true });
      expect(shown.failed_shards).toBeGreaterThan(0);
      const { items } = await hxo.curl<Page<EventView>>(events);
      const failed = items.filter((event) => event.plan_id === plan_id);
      const shards = failed.flatMap((event) => (event.data as { shards: unknown[] }).shards);
      expect(shards).toHaveLength(shown.failed_shards);
      expect(shards[0]).toMatchObject({ code: 'BAD_INPUTS', final: true });
    });
  });
});

describe('README.md', () => {
  it('begins with two commands, each of its own, and names scripts that there are', () => {
    const begin = readme.section('Quick start').blocks.map((block) => block.text.trim());
    expect(begin).toEqual(['npm ci && npm run demo', 'npm ci && npm test']);
    const named = [...readme.text.matchAll(/npm (?:run )?(demo|test|start|verify)\b/g)].map(
      ([, name]) => name!,
    );
    expect(Object.keys(package_json.scripts)).toEqual(expect.arrayContaining(named));
    expect(package_json.scripts.start).toBe('exec node dist/apps/api/src/main.js');
    for (const script of ['start', 'start:worker'])
      expect(operations.text).toContain(package_json.scripts[script]!.replace('exec ', '`'));
    expect(existsSync('.ci/run')).toBe(true);
  });

  itWith('bash')(
    'has a demo of all kinds that ends well, and federated with the same root',
    async () => {
      // The tests run after a build; building again would pull it from under those that run beside this one.
      const [, demo] = package_json.scripts.demo!.split(' && ') as [string, string];
      const roots: (string | undefined)[] = [];
      for (const command of [demo, `${demo} --federated`]) {
        const { code, stdout } = await hxo.bash(command, process.cwd());
        expect(stdout).toContain('certificate verified; the unpacked tree equals the source');
        expect(code).toBe(0);
        roots.push(/^root: +([0-9a-f]{64})$/m.exec(stdout)?.[1]);
      }
      expect(roots[0]).toMatch(/^[0-9a-f]{64}$/);
      expect(roots[1]).toBe(roots[0]);
    },
    120_000,
  );

  itWith('bash curl npx')('has commands that do what it says', async () => {
    const [start, submitting, ...reading] = readme.section('Use it').commands;
    expect(start).toBe('npm start');
    const { plan_id } = await hxo.curl<SubmittedView>(submitting!);
    await hxo.ended(plan_id);
    const [status, report, abort] = await Promise.all(reading.map((command) => hxo.curl(command, plan_id)));
    expect(status).toMatchObject({ plan_id, phase: 'succeeded' });
    expect(report).toMatchObject({ plan_id, final: true });
    expect(abort).toMatchObject({ status: 409 });

    for (const command of readme.section('The `hxo` command').commands) {
      const { code, stdout, stderr } = await hxo.run(command, plan_id);
      expect({ command, code, output: code === 0 ? '' : stdout + stderr }).toEqual({
        command,
        code: 0,
        output: '',
      });
    }
    const nothing = { patterns: [], gitignore: '/dev/null' };
    expect(await compareByWalking(join(hxo.folder, 'workspace'), join(hxo.folder, 'restored'), nothing)).toBe(
      '',
    );

    const again = await hxo.curl<SubmittedView>(submitting!);
    expect(await hxo.ended(again.plan_id)).toMatchObject({
      reused_shards: (status as StatusView).total_shards,
      merkle_root: (status as StatusView).merkle_root,
    });
  });

  it('lists the commands and exit codes of hxo', async () => {
    const { stdout } = await hxo.bash(`'${process.execPath}' '${cli_main}' --help`);
    const [, help] = /^Commands:\n([^]*?)^Examples:/m.exec(stdout)!;
    const commands = [...help!.matchAll(/^ {2}([a-z]+) /gm)].map(([, name]) => name!);
    const [listed, codes] = readme.section('The `hxo` command').tables as [string[][], string[][]];
    const named = listed.flatMap(([cell]) => [...cell!.matchAll(/`([a-z]+)/g)].map(([, name]) => name!));
    expect([...new Set(named)].sort()).toEqual(commands.filter((name) => name !== 'help').sort());
    expect(codes.length).toBe(7);
    for (const [code, meaning] of codes) expect(stdout).toContain(`  ${code!.padEnd(5)}${meaning}`);
  });

  it('says who may call each route', async () => {
    const rows = readme.section('Routes').tables[0]!;
    const plan_id = (await hxo.planIds())[0]!;
    const routes = rows.flatMap(([cell, who]) =>
      [...cell!.matchAll(/`(GET|POST) (\S+)`/g)].map(([, method, path]) => ({
        method: method!,
        path: path!,
        who: who!,
      })),
    );
    expect(routes.length).toBeGreaterThan(12);
    for (const { method, path, who } of routes) {
      const target = hxo.url + path.replace('{plan_id}', plan_id).replace(/\{\w+\}/g, '0');
      const refusal = async (role: string | null): Promise<number | null> => {
        const headers: Record<string, string> = role === null ? {} : { Authorization: role };
        const response = await fetch(target, { method, headers });
        expect(await response.text()).not.toMatch(/ROUTE_NOT_FOUND|METHOD_NOT_ALLOWED/);
        return response.status === 401 || response.status === 403 ? response.status : null;
      };
      const open = /^(any|everybody)/.test(who);
      const refused = { route: path, nobody: await refusal(null), captain: await refusal('Captain') };
      const captain = open || who.includes('Captain') ? null : 403;
      expect(refused).toEqual({ route: path, nobody: open ? null : 401, captain });
    }
  });
});

describe('docs/', () => {
  it('shows an executor that works', async () => {
    const [, stage] = /`(\{"id": "count".+?\})`/.exec(contract.text)!;
    const plan_id = await hxo.submit(`{"name": "count", "stages": [${stage}]}`);
    expect(await hxo.ended(plan_id)).toMatchObject({ phase: 'succeeded' });
    const { outputs } = await hxo.ask<ReportView>(`/api/hxo/report/${plan_id}`);
    expect(outputs[0]).toMatchObject({ stage: 'count', value: { lines: (30 * 31) / 2 } });
  });
});
