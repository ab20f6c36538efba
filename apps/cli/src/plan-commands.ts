import type { Command } from 'commander';
import { parseCount } from './arguments.js';
import { collectPages } from './client.js';
import { CommandError, exit_codes } from './exit-codes.js';
import { readPlanFile } from './plan-file.js';
import { JsonDisplay, progressDisplay } from './progress.js';
import { outcomeText, plansText, reportText, shardsText, statusText } from './report-text.js';
import { answer, note, openSession, printable, type Session } from './session.js';
import { watchPlan } from './watch.js';

/** Commands that submit, follow, list and stop plans. */
export function addPlanCommands(program: Command): void {
  program
    .command('submit')
    .description('submit a plan; prints its id')
    .argument('<file>', 'plan as JSON or YAML; - reads standard input')
    .option('--watch', 'follow the plan until it ends')
    .option(
      '--idempotency-key <key>',
      'submitting again with the same key gives the same plan, not another one',
    )
    .action(submit);
  program
    .command('watch')
    .description('follow a plan until it ends; the exit code tells how')
    .argument('<plan_id>')
    .action((planId: string, _options: object, command: Command) => watch(openSession(command), planId));
  program
    .command('status')
    .description('where a plan stands')
    .argument('<plan_id>')
    .action(async (planId: string, _options: object, command: Command) => {
      const session = openSession(command);
      const status = await session.client.status(planId);
      answer(session, status, () => statusText(status));
    });
  program
    .command('report')
    .description('what a plan came to: counts, SLO, reuse, failures, root, certificate')
    .argument('<plan_id>')
    .action(async (planId: string, _options: object, command: Command) => {
      const session = openSession(command);
      const report = await session.client.report(planId);
      answer(session, report, () => reportText(report));
    });
  program
    .command('abort')
    .description('stop a plan; what is done stays done')
    .argument('<plan_id>')
    .action(async (planId: string, _options: object, command: Command) => {
      const session = openSession(command);
      const aborted = await session.client.abort(planId);
      answer(session, aborted, () => `Plan ${aborted.plan_id} is ${aborted.status}.`);
    });
  program
    .command('plans')
    .description('list plans')
    .option('--phase <phase>', 'only plans in this phase')
    .option('--name <name>', 'only plans of this name')
    .option('--limit <count>', 'at most so many', parseCount, 100)
    .action(listPlans);
  program
    .command('shards')
    .description('list the shards of a plan')
    .argument('<plan_id>')
    .option('--stage <stage>', 'only shards of this stage')
    .option('--phase <phase>', 'only shards in this phase, such as failed')
    .option('--limit <count>', 'at most so many', parseCount, 1000)
    .action(listShards);
}

async function submit(
  file: string,
  options: { watch?: boolean; idempotencyKey?: string },
  command: Command,
): Promise<void> {
  const session = openSession(command);
  const plan = await readPlanFile(file);
  const submitted = await session.client.createAndSubmit(plan.json, options.idempotencyKey).catch((error) => {
    throw plan.explain(error);
  });
  answer(session, submitted, () =>
    options.watch
      ? `Plan ${submitted.plan_id} (${submitted.name}) submitted.`
      : `Plan ${submitted.plan_id} (${submitted.name}) submitted. Follow it: hxo watch ${submitted.plan_id}`,
  );
  if (options.watch) await watch(session, submitted.plan_id);
}

async function watch(session: Session, planId: string): Promise<void> {
  const interrupted = new AbortController();
  const onInterrupt = (): void => interrupted.abort();
  process.once('SIGINT', onInterrupt);
  try {
    const status = await watchPlan(session.client, planId, {
      display: session.json ? new JsonDisplay(process.stdout) : progressDisplay(process.stdout),
      note,
      signal: interrupted.signal,
    });
    if (!session.json) process.stdout.write(`${printable(outcomeText(status))}\n`);
    process.exitCode = status.phase === 'succeeded' ? exit_codes.ok : exit_codes.failed;
  } catch (error) {
    if (!interrupted.signal.aborted) throw error;
    throw new CommandError(
      exit_codes.interrupted,
      'INTERRUPTED',
      `The plan goes on without this window. Watch it again: hxo watch ${planId}. Stop it: hxo abort ${planId}`,
    );
  } finally {
    process.removeListener('SIGINT', onInterrupt);
  }
}

async function listPlans(
  options: { phase?: string; name?: string; limit: number },
  command: Command,
): Promise<void> {
  const session = openSession(command);
  const { phase, name } = options;
  const plans = await collectPages((page) => session.client.plans({ ...page, phase, name }), options.limit);
  answer(session, plans, () => plansText(plans.items) + moreText(plans.next_cursor));
}

async function listShards(
  planId: string,
  options: { stage?: string; phase?: string; limit: number },
  command: Command,
): Promise<void> {
  const session = openSession(command);
  const { stage, phase } = options;
  const shards = await collectPages(
    (page) => session.client.shards(planId, { ...page, stage, phase }),
    options.limit,
  );
  answer(session, shards, () => shardsText(shards.items) + moreText(shards.next_cursor));
}

function moreText(nextCursor: string | null): string {
  return nextCursor === null ? '' : '\nThere are more: raise --limit.';
}
