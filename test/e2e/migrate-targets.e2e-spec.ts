import { readFileSync } from 'node:fs';
import { files, useMigrating } from './support/migrating.js';
import { postgres_password } from './support/postgres.js';

/** Targets that are missing, away, or not to be had. */

const migrating = useMigrating();

it('files without a target are refused, naming the variable; no files need none', async () => {
  const { system } = await migrating.setUp('sqlite');
  system.write('src/a.txt', 'a');
  await system.start();
  const first_plan = [
    { id: 'pack', kind: 'deploy.pack', slo_ms: 120_000 },
    { id: 'migrate', kind: 'deploy.migrate', slo_ms: 30_000 },
  ];
  expect(await system.run(first_plan)).toMatchObject({ phase: 'succeeded', total_shards: 1 });
  system.write('migrations/0001_a.sql', 'SELECT 1');
  const answer = await system.ask('POST', '/api/hxo/create-and-submit', {
    body: { name: 'p', stages: first_plan },
  });
  expect(answer).toMatchObject({ status: 422, body: { code: 'BLUEPRINT_VIOLATION' } });
  expect(JSON.stringify(answer.body)).toContain('HXO_TARGET_DEFAULT_URL');
});

it('a database that is away is waited for, and its password is shown nowhere', async () => {
  const { system } = await migrating.setUp('sqlite');
  const away = `postgres://someone:${postgres_password}@127.0.0.1:1/nowhere`;
  const wrong = `postgres://someone:${postgres_password}@127.0.0.1:${migrating.postgres.port}/nowhere`;
  system.write('migrations/0001_a.sql', 'SELECT 1');
  const { process: server } = await system.start({
    HXO_TARGET_DEFAULT_URL: away,
    HXO_TARGET_WRONG_URL: wrong,
    HXO_LOG_LEVEL: 'trace',
  });
  const waiting = await system.submit(files);
  const status = await system.until(waiting, (now) => JSON.stringify(now).includes('cannot be reached'));
  const refused = await system.run({ ...files, config: { target: 'wrong' } });
  expect(refused).toMatchObject({ phase: 'failed', error: { code: 'PARTITION_FAILED' } });
  expect(refused.error!.detail).toContain('HXO_TARGET_WRONG_URL');
  const own = await system.run({ ...files, config: { target: 'wrong' } });
  const said = JSON.stringify([status, refused, own, await system.events('*')]) + server.logTail();
  expect(said).not.toContain(postgres_password);
  expect(readFileSync(system.db_path, 'latin1')).not.toContain(postgres_password);
});

it("HXO's own database is no target", async () => {
  const { system } = await migrating.setUp('sqlite');
  system.write('migrations/0001_a.sql', 'SELECT 1');
  await system.start({ HXO_TARGET_DEFAULT_URL: `sqlite:${system.db_path}` });
  const report = await system.run(files);
  expect(report).toMatchObject({ phase: 'failed', error: { code: 'PARTITION_FAILED' } });
  expect(report.error!.detail).toContain("one of HXO's own files");
});
