#!/usr/bin/env node
import { Command, CommanderError, Option } from 'commander';
import { hxo_version } from '#hxo';
import { SettingsError } from '#settings';
import { addDoctorCommand } from './doctor.js';
import { addEventCommand } from './event-command.js';
import { CommandError, exit_code_help, exit_codes, UsageError } from './exit-codes.js';
import { addPlanCommands } from './plan-commands.js';
import { addProofCommands } from './proof-commands.js';
import { addRegistryCommand } from './registry-command.js';
import { addSearchCommand } from './search-command.js';
import { printable } from './session.js';

const examples = `
Examples:
  hxo submit plan.yaml --watch          submit a plan and follow it to its end
  hxo report <plan_id>                  what it came to
  hxo report <plan_id> --json > r.json
  hxo verify r.json --key .hxo/keys/signing.pem.pub
  hxo verify --store .hxo --key .hxo/keys/signing.pem.pub
  hxo unpack <plan_id> pack ./restored  restore what stage "pack" packed
  hxo search install guide              find pages of indexed documentation
  hxo events --topic "hxo.shard.*" --follow
  hxo registry @scope/name              what the registry knows of a module
  hxo doctor                            when something is wrong

${exit_code_help}`;

/** Asked of the arguments themselves: a usage error may come before they are parsed. */
const options_end = process.argv.indexOf('--');
const json = process.argv.slice(2, options_end < 0 ? undefined : options_end).includes('--json');

const program = new Command('hxo')
  .description('HXO, the Hypshard-X Orchestrator: plans that run to a signed certificate.')
  .version(hxo_version)
  .option('--url <url>', 'server to speak to (default: HXO_URL, else http://127.0.0.1:<HXO_PORT>)')
  .addOption(
    new Option(
      '--role <role>',
      'role to act in on a loopback server without tokens (default: admiral)',
    ).choices(['admiral', 'captain', 'none']),
  )
  .addOption(new Option('--token <token>', 'token of your role (default: HXO_TOKEN)').conflicts('role'))
  .option('--json', 'machine output on stdout: one JSON value, or JSON lines where output goes on')
  .addHelpText('after', examples)
  .showHelpAfterError('(hxo --help shows what there is)')
  .configureOutput({ writeErr: (text) => void (json || process.stderr.write(text)) })
  .exitOverride();
addPlanCommands(program);
addEventCommand(program);
addRegistryCommand(program);
addSearchCommand(program);
addProofCommands(program);
addDoctorCommand(program);

// A reader such as `head` that has seen enough is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(exit_codes.ok);
  throw error;
});

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

/** Says on stderr what went wrong and returns the exit code. */
function report(error: unknown): number {
  if (error instanceof CommanderError && error.exitCode === 0) return exit_codes.ok;
  // Commander has printed its message already, for people.
  if (error instanceof CommanderError && !json) return exit_codes.usage;
  const told = asCommandError(error);
  if (told === null) throw error;
  const { code, message, errors, exit_code } = told;
  const text = [`hxo: ${code}: ${message}`, ...errors.map((each) => `  ${each.field}: ${each.message}`)].join(
    '\n',
  );
  process.stderr.write(
    json ? `${JSON.stringify({ code, detail: message, errors, exit_code })}\n` : `${printable(text)}\n`,
  );
  return exit_code;
}

function asCommandError(error: unknown): CommandError | null {
  if (error instanceof CommandError) return error;
  if (error instanceof SettingsError) return new UsageError(error.message);
  if (!(error instanceof CommanderError)) return null;
  if (error.code === 'commander.help')
    return new UsageError('Give a command: hxo --help shows what there is.');
  return new UsageError(error.message.replace(/^error: /, ''));
}
