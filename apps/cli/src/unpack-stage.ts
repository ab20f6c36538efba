import { resolve } from 'node:path';
import type { Digest } from '#truth';
import type { ReportView } from '#hxo';
import { Downloads, type ArtifactSource } from './downloads.js';
import { CommandError, exit_codes, UsageError } from './exit-codes.js';

/** What unpacking needs of a server. */
export interface PackSource extends ArtifactSource {
  report(planId: string): Promise<ReportView>;
}

/**
 * Restores a stage's packs into a folder, everything checked against the digests in the plan's report. Each artifact is
 * downloaded and checked as a whole before anything of it is used.
 * Throws {@link CommandError} when a byte is not what they say; its message names the folder when that is incomplete.
 *
 * @param note told in one sentence when a download broke off and is tried again
 */
export async function unpackStage(
  source: PackSource,
  planId: string,
  stage: string,
  into: string,
  note: (sentence: string) => void,
): Promise<{ readonly files: number; readonly bytes: number }> {
  const report = await source.report(planId);
  const manifest = digestOf(report, stage, 'manifest');
  const packs = digestOf(report, stage, 'packs');
  // Loaded here because only this command needs the executors, and every other one starts faster without them.
  const { FolderUnusable, unpack } = await import('#executors');
  const downloads = new Downloads(source, note);
  let begun = false;
  try {
    return await unpack({
      manifest: await downloads.open('manifest', manifest),
      packs: await downloads.open('packs', packs),
      open: (blob) => {
        begun = true;
        return downloads.open('blob', blob);
      },
      into,
    });
  } catch (error) {
    if (error instanceof FolderUnusable) throw new UsageError(error.message);
    throw failure(error, begun ? resolve(into) : null);
  } finally {
    await downloads.close();
  }
}

function digestOf(report: ReportView, stage: string, name: 'manifest' | 'packs'): Digest {
  const output = report.outputs.find((each) => each.stage === stage);
  const digest = output?.artifacts.find((artifact) => artifact.name === name)?.digest;
  if (digest !== undefined) return digest;
  const stages = report.outputs.map((each) => each.stage).join(', ') || 'none yet';
  throw new UsageError(
    `Stage ${stage} of plan ${report.plan_id} has no packs to restore. Stages with output: ${stages}.`,
  );
}

/** What the command ends with. `begun` is the folder when something may have been restored into it. */
function failure(error: unknown, begun: string | null): CommandError {
  const { exit_code, code } =
    error instanceof CommandError ? error : { exit_code: exit_codes.failed, code: 'UNPACK_FAILED' };
  const why = error instanceof Error ? error.message : String(error);
  const rest = `${begun} is restored in part only. Delete that folder before you unpack again.`;
  return new CommandError(exit_code, code, begun === null ? why : `${why.replace(/\.?$/, '.')} ${rest}`);
}
