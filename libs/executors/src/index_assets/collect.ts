import {
  FailShard,
  parseDigest,
  type CollectedShard,
  type Digest,
  type ExecutorContext,
  type Json,
  type StageOutput,
} from '#hxo/execute';
import { countAsset, countsLine, index_header, no_assets } from './asset-lines.js';
import { parseInputs } from './inputs.js';
import { mergeRuns, type Run, type SortedLine } from './merge-runs.js';

/** Lines are stored in blocks of about so many characters. */
const block_chars = 64 * 1024;

/**
 * Merges the shards' segments into the stage's artifact `index`, whose digest is the stage's: it depends on nothing but
 * the assets. Memory grows with the number of shards, not with that of assets.
 */
export async function collect(
  results: AsyncIterable<CollectedShard>,
  { artifacts, signal }: ExecutorContext,
): Promise<StageOutput> {
  const runs = await runsOf(results);
  let counts = no_assets;
  const by_mime: Record<string, number> = {};
  const lines = async function* (): AsyncGenerator<string> {
    yield index_header;
    for await (const { text, asset } of distinct(mergeRuns(runs, artifacts))) {
      signal.throwIfAborted();
      counts = countAsset(counts, asset);
      by_mime[asset.mime] = (by_mime[asset.mime] ?? 0) + 1;
      yield text;
    }
    yield countsLine(counts);
  };
  const index = await artifacts.put(inBlocks(lines()));
  return {
    digest: index.digest,
    value: { ...counts, by_mime },
    artifacts: [{ name: 'index', ...index }],
  };
}

/**
 * Chains segments into runs: sequences of segments, each of which begins behind the end of the one before. A partitioner
 * that keeps the order of paths makes one run; by_asset_bucket makes one for each bucket.
 */
async function runsOf(results: AsyncIterable<CollectedShard>): Promise<Run[]> {
  const runs: { segments: Digest[]; last: Buffer }[] = [];
  for await (const { inputs, value } of results) {
    const paths = parseInputs(inputs).files.map(({ path }) => Buffer.from(path));
    if (paths.length === 0) continue;
    paths.sort((a, b) => Buffer.compare(a, b));
    const segment = parseDigest((value as Record<string, Json>).segment);
    const run = runs.findLast(({ last }) => Buffer.compare(last, paths[0]!) < 0);
    if (run === undefined) {
      runs.push({ segments: [segment], last: paths.at(-1)! });
    } else {
      run.segments.push(segment);
      run.last = paths.at(-1)!;
    }
  }
  return runs.map(({ segments }) => segments);
}

/** Lines of different paths. Throws {@link FailShard} when two shards had the same file. */
async function* distinct(lines: AsyncIterable<SortedLine>): AsyncGenerator<SortedLine> {
  let before: Buffer | undefined;
  for await (const line of lines) {
    if (before?.equals(line.path)) {
      throw new FailShard(
        'DUPLICATE_ASSET',
        `Two shards have "${line.path.toString()}". Use a partitioner that puts every file into one shard.`,
      );
    }
    before = line.path;
    yield line;
  }
}

async function* inBlocks(lines: AsyncIterable<string>): AsyncGenerator<Buffer> {
  let block = '';
  for await (const line of lines) {
    block += line + '\n';
    if (block.length < block_chars) continue;
    yield Buffer.from(block);
    block = '';
  }
  if (block !== '') yield Buffer.from(block);
}
