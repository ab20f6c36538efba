/** What a job kind allows; the first of each list is its default. */
export interface JobKind {
  readonly name: string;
  readonly description: string;
  readonly partitioners: readonly string[];
  readonly executors: readonly string[];
  /** Default executor by partitioner, where it is not the first of the list. */
  readonly executor_by_partitioner?: Readonly<Record<string, string>>;
  /** Null: HXO_DEFAULT_SLO_MS. */
  readonly slo_ms: number | null;
}

/** The five job kinds of the contract. Executors loaded by the user may add kinds of their own. */
export const job_kinds: readonly JobKind[] = [
  {
    name: 'deploy.pack',
    description: 'Pack backend files',
    partitioners: ['by_filesize', 'by_module'],
    executors: ['pack_backend'],
    slo_ms: 120_000,
  },
  {
    name: 'deploy.migrate',
    description: 'Database migrations',
    partitioners: ['by_sql_batch'],
    executors: ['sql_migrate'],
    slo_ms: 30_000,
  },
  {
    name: 'deploy.prime',
    description: 'Prime caches and registry',
    partitioners: ['by_module', 'by_dag_depth', 'by_route_map'],
    executors: ['warm_registry', 'prime_caches'],
    executor_by_partitioner: { by_dag_depth: 'prime_caches', by_route_map: 'prime_caches' },
    slo_ms: 45_000,
  },
  {
    name: 'assets.index',
    description: 'Index assets',
    partitioners: ['by_asset_bucket', 'by_filesize'],
    executors: ['index_assets'],
    slo_ms: 60_000,
  },
  {
    name: 'docs.index',
    description: 'Index documentation',
    partitioners: ['by_route_map', 'by_filesize'],
    executors: ['docs_index'],
    slo_ms: 30_000,
  },
];

/** Schedulers of the contract; the first is the default. */
export const schedulers = ['fair_round_robin', 'hot_shard_splitter', 'backpressure_aware'] as const;

/** Schedulers that stand today. */
export const built_schedulers: readonly string[] = ['fair_round_robin'];
