import type { Command } from 'commander';
import { parseCount } from './arguments.js';
import { searchText } from './report-text.js';
import { answer, openSession } from './session.js';

interface SearchOptions {
  readonly plan?: string;
  readonly stage?: string;
  readonly limit: number;
}

/** `hxo search`: full-text search in the documentation that a plan indexed. */
export function addSearchCommand(program: Command): void {
  program
    .command('search')
    .description('search the documentation that a stage of kind docs.index made an index of')
    .argument('<words...>', 'every word must be found, whole, as a beginning, or nearly')
    .option('--plan <plan_id>', 'in the index of this plan (default: the newest that succeeded)')
    .option('--stage <stage>', 'in the index of this stage')
    .option('--limit <count>', 'at most so many pages, up to 100', parseCount, 10)
    .action(search);
}

async function search(words: readonly string[], options: SearchOptions, command: Command): Promise<void> {
  const session = openSession(command);
  const { plan: plan_id, stage, limit } = options;
  const found = await session.client.search({ q: words.join(' '), limit, plan_id, stage });
  answer(session, found, () => searchText(found));
}
