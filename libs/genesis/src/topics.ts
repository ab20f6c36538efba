/**
 * The topic catalogue: what each topic carries. `topics` describes every field in words, so that the type, the text and
 * docs/HXO_GENESIS_TOPICS.md cannot drift apart.
 */
export interface TopicData {
  'hxo.plan': {
    readonly name: string;
    readonly phase: string;
    readonly revision: number;
    readonly error: { readonly code: string; readonly detail: string } | null;
  };
  'hxo.shard.created': {
    readonly stage: string;
    readonly shards: readonly { readonly ordinal: number }[];
  };
  'hxo.shard.claimed': {
    readonly stage: string;
    readonly bundle: number;
    readonly shards: readonly { readonly ordinal: number; readonly attempt: number }[];
  };
  'hxo.shard.done': {
    readonly stage: string;
    readonly shards: readonly {
      readonly ordinal: number;
      readonly attempt: number;
      readonly reused: boolean;
    }[];
  };
  'hxo.shard.failed': {
    readonly stage: string;
    readonly shards: readonly {
      readonly ordinal: number;
      readonly attempt: number;
      readonly code: string;
      readonly message: string;
      readonly final: boolean;
    }[];
  };
  'hxo.aggregate.ready': { readonly leaves: number };
  'hxo.aggregate.certify': { readonly leaves: number; readonly merkle_root: string };
  'hxo.aggregate.finalized': { readonly merkle_root: string; readonly truth_certified: boolean };
  'hxo.aggregate.failed': { readonly code: string; readonly detail: string };
  'hxo.alert': {
    readonly code: string;
    readonly stage: string | null;
    readonly detail: string;
  };
  'hxo.audit': {
    readonly seq: number;
    readonly actor: string;
    readonly action: string;
    readonly outcome: string;
    readonly data: unknown;
  };
  'hxo.autotune.signal': {
    readonly stage: string;
    readonly p95_ms: number;
    readonly threshold_ms: number;
    readonly samples: number;
  };
  'genesis.heal': {
    readonly action: 'split_shard' | 'retry_shard' | 'replay_subtree';
    readonly stage: string;
    readonly ordinals: readonly number[];
  };
  'genesis.intent': { readonly concurrency?: number; readonly scheduler?: string };
}

export type Topic = keyof TopicData;

/** One event. `id` is a decimal number that grows with every event of a store; `time` is RFC 3339, UTC. */
export type GenesisEvent<T extends Topic = Topic> = {
  [K in T]: {
    readonly id: string;
    readonly topic: K;
    readonly time: string;
    readonly plan_id: string | null;
    readonly data: TopicData[K];
  };
}[T];

/** `published`: HXO emits it. `reserved`: the name and shape stand, nothing emits or heeds it yet. */
export type TopicStatus = 'published' | 'reserved';

export interface TopicEntry<T extends Topic = Topic> {
  readonly status: TopicStatus;
  /** From HXO to its listeners, or from them to HXO. */
  readonly direction: 'from HXO' | 'to HXO';
  readonly when: string;
  readonly fields: { readonly [Field in keyof Required<TopicData[T]>]: string };
}

const stage = 'Id of the stage in the plan.';

export const topics: { readonly [T in Topic]: TopicEntry<T> } = {
  'hxo.plan': {
    status: 'published',
    direction: 'from HXO',
    when: 'A plan was submitted, and each time that its phase changes after that.',
    fields: {
      name: 'Name of the plan.',
      phase: 'The phase that the plan is in now, as in its status.',
      revision: 'Revision of the plan, from 1.',
      error: 'Why the plan failed or was aborted: `code` and `detail`; else null.',
    },
  },
  'hxo.shard.created': {
    status: 'published',
    direction: 'from HXO',
    when: 'Shards of a stage were cut and stored.',
    fields: { stage, shards: 'Each with `ordinal`, its position in the stage.' },
  },
  'hxo.shard.claimed': {
    status: 'published',
    direction: 'from HXO',
    when: 'Shards were leased together as a bundle.',
    fields: {
      stage,
      bundle: 'Number of the bundle in its plan.',
      shards: 'Each with `ordinal` and `attempt`, the number of this lease.',
    },
  },
  'hxo.shard.done': {
    status: 'published',
    direction: 'from HXO',
    when: 'Results of shards were accepted, executed now or reused.',
    fields: {
      stage,
      shards: 'Each with `ordinal`, `attempt` (0 when reused), and `reused`.',
    },
  },
  'hxo.shard.failed': {
    status: 'published',
    direction: 'from HXO',
    when: 'Shards failed, for good or until their next attempt. Never dropped by the rate limit.',
    fields: {
      stage,
      shards: 'Each with `ordinal`, `attempt`, `code`, `message`, and `final`: true when it is not retried.',
    },
  },
  'hxo.aggregate.ready': {
    status: 'published',
    direction: 'from HXO',
    when: 'All stages have ended; the leaves of the Merkle tree are complete.',
    fields: { leaves: 'Shards and stage outputs in the tree.' },
  },
  'hxo.aggregate.certify': {
    status: 'published',
    direction: 'from HXO',
    when: 'The root is computed and certification is requested.',
    fields: { leaves: 'Shards and stage outputs in the tree.', merkle_root: 'The root, 64 hex digits.' },
  },
  'hxo.aggregate.finalized': {
    status: 'published',
    direction: 'from HXO',
    when: 'The certificate is signed and stored.',
    fields: {
      merkle_root: 'The root, 64 hex digits.',
      truth_certified: 'True when a valid certificate stands.',
    },
  },
  'hxo.aggregate.failed': {
    status: 'published',
    direction: 'from HXO',
    when: 'The plan ended without a root or a certificate.',
    fields: { code: 'Stable code of the error.', detail: 'What happened, in words.' },
  },
  'hxo.alert': {
    status: 'published',
    direction: 'from HXO',
    when: 'Somebody should look: a stage overran its SLO, a lease was lost.',
    fields: {
      code: 'Stable code: SLO_MISSED, LEASE_LOST.',
      stage: 'Id of the stage, or null when it is about the plan.',
      detail: 'What happened, in words.',
    },
  },
  'hxo.audit': {
    status: 'published',
    direction: 'from HXO',
    when: 'An operation or a denial was appended to the audit trail. Shown to those who may `hxo:audit`.',
    fields: {
      seq: 'Position in the audit trail.',
      actor: 'admiral, captain, anonymous, or hxo for the system itself.',
      action: 'What was done, such as plan.submit or access.denied.',
      outcome: 'ok, denied or rejected.',
      data: 'Particulars of the action.',
    },
  },
  'hxo.autotune.signal': {
    status: 'reserved',
    direction: 'from HXO',
    when: 'The latency of a stage asks for tuning.',
    fields: {
      stage,
      p95_ms: 'Observed 95th percentile of shard latency, in milliseconds.',
      threshold_ms: 'HXO_AUTOSPLIT_P95_MS.',
      samples: 'Shards that were measured.',
    },
  },
  'genesis.heal': {
    status: 'reserved',
    direction: 'to HXO',
    when: 'Autonomy asks for a repair.',
    fields: {
      action: 'split_shard, retry_shard or replay_subtree.',
      stage,
      ordinals: 'The shards to repair.',
    },
  },
  'genesis.intent': {
    status: 'reserved',
    direction: 'to HXO',
    when: 'Autonomy asks for another concurrency or scheduler.',
    fields: {
      concurrency: 'Shards that may execute at once.',
      scheduler: 'Name of a scheduler.',
    },
  },
};

/** True for the name of a topic of the catalogue. */
export function isTopic(name: string): name is Topic {
  return Object.hasOwn(topics, name);
}
