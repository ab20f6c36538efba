import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { EventView } from '#hxo';
import { parseCount } from './arguments.js';
import { note, openSession, printable } from './session.js';
import { patiently } from './watch.js';

const follow_interval_ms = 500;
const page_limit = 1000;

interface EventOptions {
  readonly topic?: string;
  readonly plan?: string;
  readonly after?: string;
  readonly follow?: boolean;
  readonly limit?: number;
}

/** `hxo events`: what happened, from the event table. */
export function addEventCommand(program: Command): void {
  program
    .command('events')
    .description('list events in order, one a line')
    .option('--topic <topic>', 'only this topic; a last * matches any end, as in "hxo.shard.*"')
    .option('--plan <plan_id>', 'only events of this plan')
    .option('--after <id>', 'only events after this one')
    .option('--limit <count>', 'at most so many', parseCount)
    .option('--follow', 'go on as events happen, until interrupted')
    .action(listEvents);
}

async function listEvents(options: EventOptions, command: Command): Promise<void> {
  const session = openSession(command);
  let after = options.after;
  let left = options.limit ?? Infinity;
  let first = true;
  while (left > 0) {
    const query = { topic: options.topic, plan_id: options.plan, after, limit: Math.min(left, page_limit) };
    const ask = () => session.client.events(query);
    const page = options.follow && !first ? await patiently(ask, { note }) : await ask();
    // No plan is without events, but one that is not there: its status says so.
    if (first && page.items.length === 0 && options.plan !== undefined)
      await session.client.status(options.plan);
    first = false;
    for (const event of page.items) {
      process.stdout.write((session.json ? JSON.stringify(event) : printable(eventLine(event))) + '\n');
    }
    left -= page.items.length;
    after = page.items.at(-1)?.id ?? after;
    if (page.next_cursor !== null && page.items.length > 0) continue;
    if (!options.follow) return;
    await sleep(follow_interval_ms);
  }
}

function eventLine(event: EventView): string {
  return [event.id, event.time, event.topic, event.plan_id ?? '-', JSON.stringify(event.data)].join('  ');
}
