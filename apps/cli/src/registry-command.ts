import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import type { Command } from 'commander';
import type { HxoClient } from './client.js';
import { CommandError, UsageError } from './exit-codes.js';
import { answer, openSession } from './session.js';

/** Plans that are looked at for one that filled the registry, the newest first. */
const plans_max = 20;
const modules_max = 10_000;
const shown_max = 10;

/** The command that looks a module up in the registry. */
export function addRegistryCommand(program: Command): void {
  program
    .command('registry')
    .description('what the registry cache knows of a module: version, entry points, exports, dependencies')
    .argument('[module]', 'its name, such as @scope/name; without one, names are listed')
    .action(async (module: string | undefined, _options: object, command: Command) => {
      const session = openSession(command);
      const { client } = session;
      if (module === undefined) throw new UsageError(`Name a module. ${await namesNear('', client)}`.trim());
      const entry = await client.registry(module).catch(async (error: unknown) => {
        if (!(error instanceof CommandError) || error.code !== 'REGISTRY_ENTRY_NOT_FOUND') throw error;
        const message = `${error.message} ${await namesNear(module, client)}`.trim();
        throw new CommandError(error.exit_code, error.code, message);
      });
      answer(session, entry, () => JSON.stringify(entry, null, 2));
    });
}

/** The names most like a module's that the newest plan put into the registry, in a sentence; empty when none can be had. */
async function namesNear(module: string, client: HxoClient): Promise<string> {
  const names = await registered(client).catch((error: unknown) => {
    if (error instanceof CommandError) return [];
    throw error;
  });
  if (names.length === 0) return '';
  const near = names.map((name) => ({ name, far: editsBetween(module, name) }));
  if (module !== '') near.sort((a, b) => a.far - b.far);
  const shown = near.slice(0, shown_max).map(({ name }) => name);
  const more = names.length - shown.length;
  return `The registry has ${shown.join(', ')}${more > 0 ? ` and ${more} more` : ''}.`;
}

/** The modules of the artifact `registry` of the newest plan that has one. */
async function registered(client: HxoClient): Promise<string[]> {
  const { items } = await client.plans({ phase: 'succeeded', limit: plans_max });
  for (const { plan_id } of items) {
    const { outputs } = await client.report(plan_id);
    const artifact = outputs.flatMap(({ artifacts }) => artifacts).find(({ name }) => name === 'registry');
    if (artifact !== undefined) return modulesIn(await client.artifact(artifact.digest));
  }
  return [];
}

/** A header line, then the entry of a module in each line. */
async function modulesIn(artifact: AsyncIterable<Uint8Array>): Promise<string[]> {
  const names: string[] = [];
  for await (const line of createInterface({ input: Readable.from(artifact) })) {
    const { module } = JSON.parse(line) as { readonly module?: string };
    if (module !== undefined && names.push(module) === modules_max) break;
  }
  return names;
}

/** Letters to change, add or drop to make one text of the other (Levenshtein, by rows). */
function editsBetween(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (const [i, letter] of [...a].entries()) {
    const above = row;
    row = [i + 1];
    for (let j = 0; j < b.length; j++)
      row.push(Math.min(above[j]! + (letter === b[j] ? 0 : 1), above[j + 1]! + 1, row[j]! + 1));
  }
  return row.at(-1)!;
}
