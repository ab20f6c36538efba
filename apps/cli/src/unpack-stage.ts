import type { Readable } from 'node:stream';
import { sha256Stream, type Digest } from '#truth';
import type { ReportView } from '#hxo';
import { CommandError, exit_codes, UsageError } from './exit-codes.js';

/** What unpacking needs of a server. */
export interface ArtifactSource {
  report(planId: string): Promise<ReportView>;
  artifact(digest: string): Promise<Readable>;
}

/**
 * Restores a stage's packs into a folder, everything checked against the digests in the plan's report.
 * Throws {@link CommandError} when a byte is not what they say; the folder is not to be trusted then.
 */
export async function unpackStage(
  source: ArtifactSource,
  planId: string,
  stage: string,
  into: string,
): Promise<{ readonly files: number; readonly bytes: number }> {
  const report = await source.report(planId);
  // Loaded here because only this command needs the executors, and every other one starts faster without them.
  const { unpack } = await import('#executors');
  const manifest = await CheckedArtifact.open(source, report, stage, 'manifest');
  const packs = await CheckedArtifact.open(source, report, stage, 'packs');
  try {
    const restored = await unpack({ manifest, packs, open: (digest) => source.artifact(digest), into });
    await manifest.check();
    await packs.check();
    return restored;
  } catch (error) {
    if (error instanceof CommandError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new CommandError(exit_codes.failed, 'UNPACK_FAILED', why);
  } finally {
    manifest.close();
    packs.close();
  }
}

/** A stage's artifact that is hashed while it is read, so that it is read only once, however large. */
class CheckedArtifact implements AsyncIterable<Uint8Array> {
  private readonly hash = sha256Stream();
  private readonly chunks: AsyncIterator<Uint8Array>;

  private constructor(
    private readonly name: string,
    private readonly digest: Digest,
    private readonly stream: Readable,
  ) {
    this.chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  }

  static async open(
    source: ArtifactSource,
    report: ReportView,
    stage: string,
    name: string,
  ): Promise<CheckedArtifact> {
    const output = report.outputs.find((each) => each.stage === stage);
    const digest = output?.artifacts.find((artifact) => artifact.name === name)?.digest;
    if (digest === undefined) {
      const stages = report.outputs.map((each) => each.stage).join(', ') || 'none yet';
      throw new UsageError(
        `Stage ${stage} of plan ${report.plan_id} has no packs to restore. Stages with output: ${stages}.`,
      );
    }
    return new CheckedArtifact(name, digest, await source.artifact(digest));
  }

  /** Without a `return` method: a reader that stops early must not close what `check` reads to the end. */
  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return { next: () => this.next() };
  }

  /** Reads what is left and throws {@link CommandError} unless all of it has the digest that was asked for. */
  async check(): Promise<void> {
    while (!(await this.next()).done);
    if (this.hash.digest() === this.digest) return;
    throw new CommandError(
      exit_codes.failed,
      'UNPACK_FAILED',
      `The artifact "${this.name}" is damaged: its bytes have another SHA-256 than the report says. ` +
        `Delete the folder and submit the plan again.`,
    );
  }

  close(): void {
    this.stream.destroy();
  }

  private async next(): Promise<IteratorResult<Uint8Array>> {
    const chunk = await this.chunks.next();
    if (!chunk.done) this.hash.update(chunk.value);
    return chunk;
  }
}
