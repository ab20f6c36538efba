import { existsSync, readFileSync } from 'node:fs';
import type { KeyObject } from 'node:crypto';
import type { Command } from 'commander';
import { readPublicKey, type Verdict, verifyDocument } from '#truth';
import { parseOrdinal, readSource } from './arguments.js';
import { exit_codes, UsageError } from './exit-codes.js';
import { answer, openSession, printable, type GlobalOptions } from './session.js';
import { unpackStage } from './unpack-stage.js';

/** Commands that fetch proofs, check them, and restore what was packed. */
export function addProofCommands(program: Command): void {
  program
    .command('certificate')
    .description("print a plan's certificate, a DSSE envelope, as JSON")
    .argument('<plan_id>')
    .action(async (planId: string, _options: object, command: Command) => {
      printJson(await openSession(command).client.certificate(planId));
    });
  program
    .command('receipt')
    .description('print the offline proof that a shard is part of a certified plan, as JSON')
    .argument('<plan_id>')
    .argument('<stage>')
    .argument('<ordinal>', 'position of the shard in its stage, from 0', parseOrdinal)
    .action(async (planId: string, stage: string, ordinal: number, _options: object, command: Command) => {
      printJson(await openSession(command).client.receipt(planId, stage, ordinal));
    });
  program
    .command('verify')
    .description('check a report, certificate or receipt against a key that you trust; needs no server')
    .argument('<file>', 'file as printed by report --json, certificate or receipt; - reads standard input')
    .option('--key <key>', 'trusted public key: a PEM file, or base64; may be repeated', collect, [])
    .action(async (file: string, options: { key: readonly string[] }, command: Command) => {
      const keys = options.key.map(readTrustedKey);
      printVerdict(verifyDocument(await readSource(file), keys), command);
    });
  program
    .command('unpack')
    .description('restore the files that a deploy.pack stage packed, checking every digest')
    .argument('<plan_id>')
    .argument('<stage>')
    .argument('<dir>', 'a new or empty folder')
    .action(async (planId: string, stage: string, dir: string, _options: object, command: Command) => {
      const session = openSession(command);
      const restored = await unpackStage(session.client, planId, stage, dir);
      answer(
        session,
        restored,
        () => `${restored.files} files, ${restored.bytes} bytes restored into ${dir}.`,
      );
    });
}

/** A key as given on the command line: the name of a PEM file, or the key itself. Throws {@link UsageError}. */
export function readTrustedKey(fileOrText: string): KeyObject {
  try {
    return readPublicKey(existsSync(fileOrText) ? readFileSync(fileOrText, 'utf8') : fileOrText);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new UsageError(`--key ${fileOrText} is neither a file with a public key nor a public key: ${why}`);
  }
}

/** Prints what was checked and sets the exit code. */
function printVerdict(verdict: Verdict, command: Command): void {
  const { json = false } = command.optsWithGlobals<GlobalOptions>();
  process.stdout.write(json ? `${JSON.stringify(verdict)}\n` : `${printable(verdictText(verdict))}\n`);
  process.exitCode = verdict.ok ? exit_codes.ok : exit_codes.failed;
}

function verdictText(verdict: Verdict): string {
  const checks = verdict.checks.map(
    (check) => `${check.ok ? 'ok    ' : 'FAILED'}  ${check.name}: ${check.detail}`,
  );
  const about = verdict.plan_id === undefined ? '' : ` of plan ${verdict.plan_id}`;
  const conclusion = verdict.ok
    ? `Verified: this ${verdict.kind}${about} is genuine. Root ${verdict.root ?? 'unknown'}, key ${verdict.key_id ?? 'unknown'}.`
    : 'NOT verified: do not trust this document.';
  return [...checks, conclusion].join('\n');
}

function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

function collect(value: string, earlier: readonly string[]): readonly string[] {
  return [...earlier, value];
}
