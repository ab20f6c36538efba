import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { KeyObject } from 'node:crypto';
import type { Command } from 'commander';
import { counted } from '#hxo';
import { readPublicKey, type Verdict, verifyDocument } from '#truth';
import { parseOrdinal, readSource } from './arguments.js';
import { exit_codes, UsageError } from './exit-codes.js';
import { answer, note, openSession, type GlobalOptions } from './session.js';
import { signedFieldsOf, type SignedFields } from './signed-fields.js';
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
    .description('check a document, or a whole store, against a key that you trust; needs no server')
    .argument('[file]', 'file as printed by report --json, certificate or receipt; - reads standard input')
    .option(
      '--store <home>',
      'check every certified plan in this HXO_HOME instead: rows, artifacts, certificates',
    )
    .option('--db <file>', 'checkpoint store, where HXO_DB_PATH put it elsewhere (with --store)')
    .option('--artifacts <dir>', 'artifacts, where HXO_ARTIFACTS_DIR put them elsewhere (with --store)')
    .option('--key <key>', 'trusted public key: a PEM file, or base64; may be repeated', collect, [])
    .action(async (file: string | undefined, options: VerifyOptions, command: Command) => {
      const keys = options.key.map(readTrustedKey);
      if (options.store === undefined) {
        conclude(await checkDocument(file, options, keys), verdictText, command);
        return;
      }
      if (file !== undefined) throw new UsageError(`Verify either ${file} or --store, not both at once.`);
      const { store, db = join(store, 'checkpoints.db'), artifacts = join(store, 'artifacts') } = options;
      if (!existsSync(db))
        throw new UsageError(
          `There is no checkpoint store ${db}. Give --store the home of a server (HXO_HOME), or --db where the store is elsewhere.`,
        );
      // Only here, because the database takes longer to load than most commands take to run.
      const { checkStore, storeVerdictText } = await import('./check-store.js');
      conclude(await checkStore(db, artifacts, keys), storeVerdictText, command);
    });
  program
    .command('unpack')
    .description('restore the files that a deploy.pack stage packed, checking every digest')
    .argument('<plan_id>')
    .argument('<stage>')
    .argument('<dir>', 'a new or empty folder')
    .action(async (planId: string, stage: string, dir: string, _options: object, command: Command) => {
      const session = openSession(command);
      const restored = await unpackStage(session.client, planId, stage, dir, note);
      answer(
        session,
        restored,
        () => `${counted(restored.files, 'file')}, ${counted(restored.bytes, 'byte')} restored into ${dir}.`,
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

interface VerifyOptions {
  readonly key: readonly string[];
  readonly store?: string;
  readonly db?: string;
  readonly artifacts?: string;
}

/** A verdict and, on a genuine report, which of its fields are signed. */
type DocumentVerdict = Verdict & { readonly fields?: SignedFields };

async function checkDocument(
  file: string | undefined,
  { db, artifacts }: VerifyOptions,
  keys: readonly KeyObject[],
): Promise<DocumentVerdict> {
  if (db !== undefined || artifacts !== undefined)
    throw new UsageError('--db and --artifacts go with --store.');
  if (file === undefined)
    throw new UsageError('Give a file to verify, or --store with the home of a server.');
  const text = await readSource(file);
  const verdict = verifyDocument(text, keys);
  return verdict.ok && verdict.kind === 'report'
    ? { ...verdict, fields: signedFieldsOf(text.replace(/^\ufeff/, ''), keys) }
    : verdict;
}

/** Prints what was checked and sets the exit code. */
function conclude<V extends { readonly ok: boolean }>(
  verdict: V,
  text: (verdict: V) => string,
  command: Command,
): void {
  const { json = false } = command.optsWithGlobals<GlobalOptions>();
  answer({ json }, verdict, () => text(verdict));
  process.exitCode = verdict.ok ? exit_codes.ok : exit_codes.failed;
}

function verdictText(verdict: DocumentVerdict): string {
  const checks = verdict.checks.map(
    (check) => `${check.ok ? 'ok    ' : 'FAILED'}  ${check.name}: ${check.detail}`,
  );
  const fields =
    verdict.fields === undefined
      ? []
      : [
          `signed      ${verdict.fields.signed.join(', ')}`,
          `NOT signed  ${verdict.fields.unsigned.join(', ')} (nothing vouches for these)`,
        ];
  const about = verdict.plan_id === undefined ? '' : ` of plan ${verdict.plan_id}`;
  const conclusion = verdict.ok
    ? `Verified: ${verdict.fields === undefined ? `this ${verdict.kind}${about} is` : `the signed fields of this report${about} are`} genuine. Root ${verdict.root ?? 'unknown'}, key ${verdict.key_id ?? 'unknown'}.`
    : 'NOT verified: do not trust this document.';
  return [...checks, ...fields, conclusion].join('\n');
}

function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

function collect(value: string, earlier: readonly string[]): readonly string[] {
  return [...earlier, value];
}
