import { canonicalJson, type Json } from '#truth';
import type { Segment } from '../checkpoint/checkpoint-store.js';
import { printShardLine, segmentDigest } from '../checkpoint/segment-lines.js';
import type { RawConfig } from '../plan/stage-config.js';
import { casHasher, type StageContent } from './cas.js';
import type { PartitionContext, Partitioner, PartitionSummary, ShardDraft } from './contract.js';

/** A segment before the engine has looked for results to reuse. */
export type SegmentDraft = Omit<Segment, 'misses'>;

const segment_shards_max = 256;
/** Characters of lines after which a segment is closed early: shards may carry thousands of file names each. */
const segment_chars_max = 1_048_576;

/**
 * Runs a partitioner and packs its shards into segments: ordinals given, content ids computed, waves kept apart.
 * Returns the partitioner's summary. Runs off the main thread.
 *
 * @param options what each shard gets as `options` of its inputs; null for an executor without options
 */
export async function* makeSegments<Config>(
  partitioner: Partitioner<Config>,
  config: Config,
  content: StageContent,
  context: PartitionContext,
  options: RawConfig | null = null,
): AsyncGenerator<SegmentDraft, PartitionSummary> {
  const cas = casHasher(content);
  const drafts = partitioner.partition(config, context);
  let ordinal = 0;
  let open = new OpenSegment(0, 0);
  for (;;) {
    const next = await drafts.next();
    if (next.done === true) {
      if (open.count > 0) yield open.close();
      return next.value;
    }
    if (open.count > 0 && (open.full() || next.value.wave !== open.wave)) {
      yield open.close();
      open = new OpenSegment(ordinal, next.value.wave);
    } else if (open.count === 0) {
      open = new OpenSegment(ordinal, next.value.wave);
    }
    open.add(next.value, options, cas);
    ordinal++;
  }
}

class OpenSegment {
  private readonly cas: string[] = [];
  private lines = '';

  constructor(
    private readonly first_ordinal: number,
    readonly wave: number,
  ) {}

  get count(): number {
    return this.cas.length;
  }

  full(): boolean {
    return this.count >= segment_shards_max || this.lines.length >= segment_chars_max;
  }

  add(draft: ShardDraft, options: RawConfig | null, cas: ReturnType<typeof casHasher>): void {
    const inputs = canonicalJson(options === null ? draft.inputs : withOptions(draft.inputs, options));
    this.cas.push(cas(inputs, draft.input_digests));
    this.lines += printShardLine({ weight: draft.weight, input_digests: draft.input_digests, inputs });
  }

  close(): SegmentDraft {
    const segment = {
      first_ordinal: this.first_ordinal,
      count: this.count,
      wave: this.wave,
      cas: Buffer.from(this.cas.join(''), 'hex'),
      lines: this.lines,
    };
    return { ...segment, digest: segmentDigest(segment) };
  }
}

/** Throws when inputs are no object: a partitioner of such inputs serves executors without options only. */
function withOptions(inputs: Json, options: RawConfig): Json {
  if (typeof inputs !== 'object' || inputs === null || Array.isArray(inputs))
    throw new Error('The executor takes options, which only inputs that are an object can carry.');
  return { ...inputs, options };
}
