import type { ArtifactStore, Digest } from '#hxo/execute';
import { linesOf } from '../lines.js';
import { artifactBytes, artifactCorrupt } from '../read-artifact.js';
import { readAssetLine } from './asset-lines.js';

/** Segments whose lines, one after the other, are in order. */
export type Run = readonly Digest[];

export interface SortedLine {
  readonly text: string;
  readonly asset: ReturnType<typeof readAssetLine>;
  /** The UTF-8 bytes that it is ordered by. */
  readonly path: Buffer;
}

/** So many runs are merged at once, each with one segment open. */
export const merge_ways = 64;

/**
 * The lines of all runs in bytewise order of their paths. More runs than {@link merge_ways} are merged in several passes,
 * over artifacts in between.
 */
export async function* mergeRuns(runs: readonly Run[], artifacts: ArtifactStore): AsyncGenerator<SortedLine> {
  let left = runs;
  while (left.length > merge_ways) {
    const merged = await artifacts.put(bytesOf(mergeAtOnce(left.slice(0, merge_ways), artifacts)));
    left = [...left.slice(merge_ways), [merged.digest]];
  }
  yield* mergeAtOnce(left, artifacts);
}

/** A run that is being read, and its next line. */
interface Cursor {
  readonly line: SortedLine;
  readonly rest: AsyncGenerator<SortedLine>;
}

async function* mergeAtOnce(runs: readonly Run[], artifacts: ArtifactStore): AsyncGenerator<SortedLine> {
  /** By their next lines, the first one last. */
  const cursors: Cursor[] = [];
  try {
    for (const run of runs) await advance(linesOfRun(run, artifacts), cursors);
    for (let first = cursors.pop(); first !== undefined; first = cursors.pop()) {
      yield first.line;
      await advance(first.rest, cursors);
    }
  } finally {
    for (const { rest } of cursors) await rest.return(undefined);
  }
}

/** Reads a run's next line and puts the run back in its place; one that is at its end is done with. */
async function advance(rest: AsyncGenerator<SortedLine>, cursors: Cursor[]): Promise<void> {
  const next = await rest.next();
  if (next.done) return;
  let [low, high] = [0, cursors.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (Buffer.compare(cursors[middle]!.line.path, next.value.path) > 0) low = middle + 1;
    else high = middle;
  }
  cursors.splice(low, 0, { line: next.value, rest });
}

async function* linesOfRun(run: Run, artifacts: ArtifactStore): AsyncGenerator<SortedLine> {
  for (const segment of run) {
    const lines = linesOf(artifactBytes(artifacts, segment), (why) => artifactCorrupt(segment, why));
    for await (const text of lines) {
      const asset = readAssetLine(text);
      yield { text, asset, path: Buffer.from(asset.path) };
    }
  }
}

async function* bytesOf(lines: AsyncIterable<SortedLine>): AsyncGenerator<Buffer> {
  for await (const { text } of lines) yield Buffer.from(text + '\n');
}
