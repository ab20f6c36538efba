/**
 * The demo: a plan of all five kinds, from submission to verified certificate, restored files, a migrated database and a
 * search, on this project's own tree, with a server of its own on a free port and everything it writes in a temporary
 * folder. `--federated` puts a Redis and two worker processes behind the server; `--keep` keeps the folder.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import Database from 'better-sqlite3';
import { readPublicKey, verifyDocument } from '#truth';
import { counted, type ReportView } from '#hxo';
import { HxoClient } from './client.js';
import { compareTrees } from './compare-trees.js';
import { exit_codes } from './exit-codes.js';
import { progressDisplay } from './progress.js';
import { outcomeText, reportText } from './report-text.js';
import { RedisProcess } from './redis-process.js';
import { ServerProcess } from './server-process.js';
import { unpackStage } from './unpack-stage.js';
import { watchPlan } from './watch.js';

const project_root = fileURLToPath(new URL('../../../../', import.meta.url));
const server_main = fileURLToPath(new URL('../../api/src/main.js', import.meta.url));
const worker_main = fileURLToPath(new URL('../../worker/src/main.js', import.meta.url));
const workers_count = 2;
/** The whole demo takes seconds; a plan that hangs must not hang the demo. */
const plan_max_ms = 120_000;
const plan = readFileSync(join(project_root, 'examples', 'demo.json'), 'utf8');
/** Rows of the demo's database, as examples/migrations makes them. */
const customers = 20_000;

const help = `Usage: npm run demo -- [options]

Runs examples/demo.json, a plan of all five kinds, on this project's own tree, with a server of its own on a free port;
then verifies its certificate offline, restores its packs, compares them, and submits the plan again.

Options:
  --federated  put a Redis and ${workers_count} worker processes behind the server; as root on Debian, redis-server is installed
               when it is not there
  --keep       keep the temporary folder that everything is written to
  --help       this text
`;

const { keep, federated } = readArguments();
const folder = await mkdtemp(join(tmpdir(), 'hxo-demo-'));
const home = join(folder, 'home');
let server: ServerProcess | undefined;
let redis: RedisProcess | undefined;
const workers: ServerProcess[] = [];
const database = join(folder, 'shop.db');
const shared_variables = {
  HXO_HOME: home,
  HXO_WORKSPACE: project_root,
  HXO_TARGET_DEFAULT_URL: `sqlite:${database}`,
};
let interrupted = false;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    interrupted = true;
    void cleanUp().then(() => process.exit(exit_codes.interrupted));
  });
}

try {
  await runDemo();
} catch (error) {
  if (!interrupted) tellFailure(error);
  process.exitCode = exit_codes.failed;
} finally {
  if (!interrupted) await cleanUp();
}

/** Ends the process, 0 after `--help` and 2 when it was called wrongly. */
function readArguments(): { readonly keep: boolean; readonly federated: boolean } {
  try {
    const flag = { type: 'boolean', default: false } as const;
    const { values } = parseArgs({ options: { keep: flag, federated: flag, help: flag } });
    if (!values.help) return values;
    process.stdout.write(help);
    process.exit(exit_codes.ok);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${help}`);
    process.exit(exit_codes.usage);
  }
}

async function runDemo(): Promise<void> {
  const url = federated ? await startFederated() : await startEmbedded();
  const client = new HxoClient({ url, authorization: 'Admiral' });
  say(`listening on ${url}`);

  step(`Pack, migrate, prime and index: examples/demo.json on ${project_root}`);
  say('(all but what .gitignore names, .git, and .env* files, which may hold secrets and are never read)');
  // A target must be there; an empty file is an empty SQLite database.
  writeFileSync(database, '');
  const first = await runPlan(client);
  say(reportText(first));

  step('Verify the certificate offline, with nothing but the public key');
  verifyCertificate(first);

  step('Unpack and compare with the source');
  await unpackAndCompare(client, first);

  step('Look at what else it has done');
  checkDatabase();
  await checkSearch(client);
  await checkRegistry(client);

  step('Submit the same plan again: packs and indexes are reused, and no row is filled twice');
  const second = await runPlan(client);
  for (const { id, total_shards, reused_shards } of second.stages.filter(({ kind }) => isCacheable(kind)))
    ensure(reused_shards === total_shards, `Stage ${id} reused only ${reused_shards} of ${total_shards}.`);
  say(`${counted(second.reuse.reused, 'shard')} reused`);
  checkDatabase();

  step('Stop the server');
  await server?.stop();
  await Promise.all(workers.map((worker) => worker.stop()));
  await redis?.kill();
  say('stopped');
  say(`\nplan id:  ${first.plan_id}\nshards:   ${first.total_shards}\nroot:     ${first.merkle_root}`);
  say('certificate verified; the unpacked tree equals the source');
}

async function startEmbedded(): Promise<string> {
  step('Start HXO, embedded: no Redis, no database server');
  return startServer({});
}

async function startFederated(): Promise<string> {
  step(`Start HXO, federated: a Redis, one API and ${workers_count} worker processes`);
  redis = await RedisProcess.start(folder, say);
  const variables = { HXO_REDIS_URL: redis.url };
  for (let i = 0; i < workers_count; i++) {
    const own = { ...shared_variables, ...variables, HXO_WORKER_PORT: '0', HXO_LOG_FILE: '' };
    workers.push(new ServerProcess(worker_main, folder, own));
  }
  await Promise.all(workers.map((worker) => worker.listening()));
  return startServer(variables);
}

function startServer(variables: Readonly<Record<string, string>>): Promise<string> {
  const own = { HXO_PORT: '0', HXO_LOG_FILE: join(folder, 'app.log') };
  server = new ServerProcess(server_main, folder, { ...shared_variables, ...own, ...variables });
  return server.listening();
}

/** Submits the plan, shows its progress and returns its report. Throws unless it succeeds with a certificate. */
async function runPlan(client: HxoClient): Promise<ReportView> {
  const { plan_id } = await client.createAndSubmit(plan);
  const signal = server!.goneWithin(plan_max_ms);
  const status = await watchPlan(client, plan_id, {
    display: progressDisplay(process.stdout),
    note: say,
    signal,
  });
  const report = await client.report(plan_id);
  ensure(status.phase === 'succeeded', `${outcomeText(status)}\n${reportText(report)}`);
  ensure(
    report.truth_certified && report.total_shards > 0,
    `There is no certificate.\n${reportText(report)}`,
  );
  return report;
}

function verifyCertificate(report: ReportView): void {
  const key = readPublicKey(readFileSync(join(home, 'keys', 'signing.pem.pub'), 'utf8'));
  for (const document of [report, report.certificate]) {
    const verdict = verifyDocument(JSON.stringify(document), [key]);
    const failed = verdict.checks
      .filter((check) => !check.ok)
      .map((check) => `${check.name}: ${check.detail}`);
    ensure(verdict.ok && verdict.root === report.merkle_root, `It does not verify. ${failed.join(' ')}`);
  }
  say('certificate verified');
}

async function unpackAndCompare(client: HxoClient, report: ReportView): Promise<void> {
  const restored = join(folder, 'restored');
  const { files, bytes } = await unpackStage(client, report.plan_id, 'pack', restored, say);
  const differences = await compareTrees(project_root, restored, {
    patterns: ['.git', '.env*'],
    gitignore: join(project_root, '.gitignore'),
  });
  ensure(
    differences === '',
    `The unpacked tree differs from the source. Packs hold regular files only: empty folders and links show up here, ` +
      `and so does whatever changed meanwhile.\n${differences}`,
  );
  say(
    `${counted(files, 'file')}, ${counted(bytes, 'byte')}: the unpacked tree equals the source (diff -r is empty)`,
  );
}

/** Every row was filled by the backfill exactly once, however often it was submitted. */
function checkDatabase(): void {
  const db = new Database(database, { readonly: true });
  try {
    const filled = db
      .prepare('SELECT count(*) FROM customer WHERE email_key = lower(email) AND fills = 1')
      .pluck()
      .get();
    ensure(filled === customers, `${String(filled)} of ${customers} customers were filled exactly once.`);
    say(`database: ${counted(customers, 'row')} filled exactly once`);
  } finally {
    db.close();
  }
}

async function checkSearch(client: HxoClient): Promise<void> {
  const words = 'offline certificate';
  const { total, items } = await client.search({ q: words });
  const [best] = items;
  ensure(best !== undefined, `No page of docs/ was found for "${words}".`);
  say(`search "${words}": ${counted(total, 'page')}, the best is ${best.route} (${best.title})`);
}

async function checkRegistry(client: HxoClient): Promise<void> {
  const entry = await client.registry('libs');
  say(`registry: ${JSON.stringify(entry).slice(0, 72)}…`);
}

/** Kinds whose results count for the next plan as long as nothing has changed. */
function isCacheable(kind: string): boolean {
  return kind === 'deploy.pack' || kind.endsWith('.index');
}

function tellFailure(error: unknown): void {
  // What was waited for was given up because of something: that is the news.
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  say(`\nThe demo failed: ${cause instanceof Error ? cause.message : String(cause)}`);
  if (server !== undefined) say(`\nThe server's last log lines:\n${server.logTail()}`);
}

/** Leaves nothing running and, unless asked to, nothing on disk. */
async function cleanUp(): Promise<void> {
  for (const running of [server, ...workers]) running?.kill();
  await redis?.kill();
  if (keep) say(`\nKept: ${folder}`);
  else await rm(folder, { recursive: true, force: true, maxRetries: 5 });
}

function ensure(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new Error(otherwise);
}

function step(title: string): void {
  say(`\n== ${title}`);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
