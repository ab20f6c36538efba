import type { Command } from 'commander';
import { answer, openSession } from './session.js';

/** The command that looks a module up in the registry. */
export function addRegistryCommand(program: Command): void {
  program
    .command('registry')
    .description('what the registry cache knows of a module: version, entry points, exports, dependencies')
    .argument('<module>', 'its name, such as @scope/name')
    .action(async (module: string, _options: object, command: Command) => {
      const session = openSession(command);
      const entry = await session.client.registry(module);
      answer(session, entry, () => JSON.stringify(entry, null, 2));
    });
}
