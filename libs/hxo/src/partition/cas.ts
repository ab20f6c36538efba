import { canonicalJson, sha256, type Digest, type Json } from '#truth';

/** What the content ids of a stage's shards have in common. */
export interface StageContent {
  readonly kind: string;
  readonly executor: string;
  readonly executor_version: string;
  /** Digests of the stage outputs that the shards read, and of no others. */
  readonly dependency_digests: readonly Digest[];
}

/** All that a shard's result hangs on. */
export interface ShardContent extends StageContent {
  readonly inputs: Json;
  readonly input_digests: readonly Digest[];
}

/**
 * The content id of a shard: SHA-256 of the RFC 8785 canonical JSON of what its result hangs on, with a version `v`
 * of this formula. It changes exactly when the work does. Throws NotCanonicalError for inputs that JSON cannot carry.
 */
export function casId(content: ShardContent): Digest {
  return casHasher(content)(canonicalJson(content.inputs), content.input_digests);
}

/**
 * {@link casId} for all shards of a stage: the canonical text is put together around inputs that are canonical JSON
 * text already, its keys in their canonical order.
 */
export function casHasher(stage: StageContent): (inputs: string, input_digests: readonly Digest[]) => Digest {
  const { dependency_digests, executor, executor_version, kind } = stage;
  const head = canonicalJson({ dependency_digests, executor, executor_version }).slice(0, -1);
  const tail = `,${canonicalJson({ kind, v: 1 }).slice(1)}`;
  return (inputs, input_digests) => {
    const digests = input_digests.length === 0 ? '[]' : `["${input_digests.join('","')}"]`;
    return sha256(`${head},"input_digests":${digests},"inputs":${inputs}${tail}`);
  };
}
