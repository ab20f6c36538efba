import { sha256Stream, type Digest, type Json } from '#truth';
import { parseShardLines, type ShardLine } from '../checkpoint/segment-lines.js';
import type { ArtifactStore } from './artifact-store.js';
import {
  FailShard,
  RetryShard,
  type CollectedShard,
  type Executor,
  type ExecutorContext,
  type Shard,
} from './contract.js';
import { acceptShard, acceptStage, type Accepted, type Failure } from './outcome.js';
import type { Bundle } from './transport.js';

/** Does the shard at `index` of a bundle, or its collector. Throws what its executor throws. */
export type Perform = (index: number, context: ExecutorContext) => Promise<Accepted>;

/** What a bundle asks of this worker's executor of that name; a failure of all its shards when that cannot be done here. */
export function performOf(bundle: Bundle, executor: Executor | undefined): Perform | Failure {
  if (executor?.version !== bundle.executor_version) return mismatch(bundle, executor);
  const { attempt, work } = bundle;
  if (work.type === 'collect') return (_, context) => collect(executor, work.results, context);
  const { ordinals } = work;
  const lines = readShardLines(work.lines, ordinals.length);
  if ('code' in lines) return lines;
  return (index, context) =>
    runShard(executor, { ordinal: ordinals[index]!, attempt }, lines[index]!, context);
}

function mismatch(bundle: Bundle, executor: Executor | undefined): Failure {
  const asked = `${bundle.executor} version ${bundle.executor_version}`;
  const found = executor === undefined ? `no executor ${bundle.executor}` : `version ${executor.version}`;
  const message = `The plan asks for ${asked}, this worker has ${found}. Run the same build everywhere.`;
  return { verdict: 'retry', code: 'EXECUTOR_MISMATCH', message };
}

/** The shards' lines, or why they cannot be had. */
function readShardLines(text: string, count: number): readonly ShardLine[] | Failure {
  try {
    const lines = parseShardLines(text);
    if (lines.length === count) return lines;
    return unreadable(`There are ${lines.length} lines for ${count} shards.`);
  } catch (error) {
    return unreadable((error as Error).message);
  }
}

function unreadable(why: string): Failure {
  const message = `The lines that define the shards are damaged. ${why} Check the checkpoint store with "hxo verify --store".`;
  return { verdict: 'fail', code: 'SHARDS_UNREADABLE', message };
}

async function runShard(
  executor: Executor,
  at: Pick<Shard<unknown>, 'ordinal' | 'attempt'>,
  line: ShardLine,
  context: ExecutorContext,
): Promise<Accepted> {
  const inputs = executor.parse(JSON.parse(line.inputs) as Json);
  const { ordinal, attempt } = at;
  const { input_digests } = line;
  // Written out: spreading `at` takes longer than all the rest of this function.
  return acceptShard(await executor.run({ ordinal, attempt, inputs, input_digests }, context));
}

async function collect(executor: Executor, results: Digest, context: ExecutorContext): Promise<Accepted> {
  if (executor.collect === undefined) {
    throw new FailShard(
      'NO_COLLECTOR',
      `Executor ${executor.name} has no collect(): its stage has no output.`,
    );
  }
  return acceptStage(await executor.collect(readResults(context.artifacts, results), context));
}

/** Reads the JSON lines of a results artifact. Throws RetryShard when its bytes are not those that its name promises. */
async function* readResults(artifacts: ArtifactStore, results: Digest): AsyncGenerator<CollectedShard> {
  const hash = sha256Stream();
  const text = new TextDecoder();
  let rest = '';
  for await (const chunk of await artifacts.open(results)) {
    hash.update(chunk as Uint8Array);
    const lines = (rest + text.decode(chunk as Uint8Array, { stream: true })).split('\n');
    rest = lines.pop()!;
    for (const line of lines) yield JSON.parse(line) as CollectedShard;
  }
  if (rest !== '') yield JSON.parse(rest) as CollectedShard;
  const digest = hash.digest();
  if (digest !== results) {
    throw new RetryShard('ARTIFACT_CORRUPT', `Results artifact ${results} has bytes that hash to ${digest}.`);
  }
}
