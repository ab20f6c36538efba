/** One environment variable as users see it. */
export interface Variable {
  readonly name: string;
  /** The default as one would write it; `<…>` where it is worked out; empty where there is none. */
  readonly default: string;
  readonly meaning: string;
}

/** Every variable that HXO reads. Defaults written here are the ones in force: they are parsed like given values. */
export const settings_table = [
  {
    name: 'HXO_ENABLED',
    default: 'true',
    meaning: 'Enable/disable HXO: false answers reads and refuses writes',
  },
  { name: 'HXO_DEFAULT_SLO_MS', default: '120000', meaning: 'SLO of a stage whose kind has none, 2 minutes' },
  {
    name: 'HXO_SHARD_TIMEOUT_MS',
    default: '15000',
    meaning: 'Limit of one shard, 15 seconds; 0 disables it',
  },
  { name: 'HXO_MAX_CONCURRENCY', default: '64', meaning: 'Max parallel shards, over all plans' },
  { name: 'HXO_MAX_SHARDS', default: '1000000', meaning: 'Hard cap on the shards of one plan' },
  { name: 'HXO_AUTOSPLIT_P95_MS', default: '8000', meaning: 'Split shards if p95 latency exceeds this' },
  { name: 'HXO_AUTOSPLIT_FACTOR', default: '4', meaning: 'Split into so many sub-shards; 1 turns it off' },
  { name: 'HXO_DB_PATH', default: '<HXO_HOME>/checkpoints.db', meaning: 'SQLite checkpoint store' },
  { name: 'HXO_ARTIFACTS_DIR', default: '<HXO_HOME>/artifacts', meaning: 'Shard artifacts' },
  { name: 'HXO_ALLOW_CAPTAIN_VIEW', default: 'true', meaning: 'Captains can view status' },
  { name: 'GENESIS_MODE', default: 'enabled', meaning: 'The Genesis event bus: enabled or disabled' },
  {
    name: 'HXO_HOST',
    default: '127.0.0.1',
    meaning: 'Address to listen on; beyond loopback the server requires tokens',
  },
  { name: 'HXO_PORT', default: '8000', meaning: 'Port to listen on; 0 takes any free one' },
  { name: 'HXO_HOME', default: '.hxo', meaning: 'Folder of all runtime state' },
  {
    name: 'HXO_WORKSPACE',
    default: '<current directory>',
    meaning: 'Tree that plans read; they cannot leave it',
  },
  {
    name: 'HXO_WORKER_CONCURRENCY',
    default: '<one per core; HXO_MAX_CONCURRENCY for shards that only wait>',
    meaning: 'Shards executing at once in one process',
  },
  { name: 'HXO_EVENT_BATCH_SIZE', default: '100', meaning: 'Shards that one shard event carries at most' },
  {
    name: 'HXO_EVENT_MAX_RATE',
    default: '1000',
    meaning: 'Events per second at most; failures are never dropped',
  },
  { name: 'HXO_ADMIRAL_TOKEN', default: '', meaning: 'Token of the Admiral role, at least 16 characters' },
  { name: 'HXO_ADMIRAL_TOKEN_FILE', default: '', meaning: 'File that holds the Admiral token' },
  { name: 'HXO_CAPTAIN_TOKEN', default: '', meaning: 'Token of the Captain role, at least 16 characters' },
  { name: 'HXO_CAPTAIN_TOKEN_FILE', default: '', meaning: 'File that holds the Captain token' },
  {
    name: 'HXO_SIGNING_KEY_FILE',
    default: '<HXO_HOME>/keys/signing.pem',
    meaning: 'Ed25519 key, made on first start',
  },
  { name: 'HXO_BODY_LIMIT_BYTES', default: '1048576', meaning: 'Largest request body, 1 MiB' },
  { name: 'HXO_DRAIN_MS', default: '10000', meaning: 'Time for running shards to end after SIGTERM' },
  { name: 'HXO_LOG_FILE', default: 'logs/app.log', meaning: 'Log file beside stdout; set but empty: none' },
  { name: 'HXO_LOG_LEVEL', default: 'info', meaning: 'trace, debug, info, warn, error, fatal or silent' },
  {
    name: 'HXO_EXECUTORS',
    default: '',
    meaning: 'Your own executors: globs of compiled modules, comma-separated',
  },
  {
    name: 'HXO_PRIME_ALLOWED_HOSTS',
    default: '',
    meaning:
      'Hosts that prime_caches may ask for pages: host, host:port, address or network/bits, comma-separated; none when left out',
  },
  {
    name: 'HXO_REDIS_URL',
    default: '',
    meaning: 'Redis that carries bundles to workers: redis:// or rediss://; without it HXO runs embedded',
  },
  {
    name: 'HXO_BUNDLE_KEY',
    default: '',
    meaning: 'Key shared by API and workers that seals what passes through Redis, at least 16 characters',
  },
  { name: 'HXO_BUNDLE_KEY_FILE', default: '', meaning: 'File that holds the bundle key' },
  {
    name: 'HXO_WORKER_EXECUTORS',
    default: '',
    meaning: 'Executors that a worker process offers, comma-separated; all that it has when left out',
  },
  {
    name: 'HXO_WORKER_PORT',
    default: '8001',
    meaning: 'Port of a worker for health and metrics; 0 takes any free one',
  },
  {
    name: 'HXO_TARGET_DEFAULT_URL',
    default: '',
    meaning:
      'Database of migrations: sqlite:app.db or postgres://user@host/name; HXO_TARGET_<NAME>_URL for a target of that name',
  },
  {
    name: 'HXO_URL',
    default: 'http://127.0.0.1:<HXO_PORT>',
    meaning: 'Server that the hxo command speaks to',
  },
  { name: 'HXO_TOKEN', default: '', meaning: 'Token that the hxo command sends' },
] as const satisfies readonly Variable[];

/** A variable of {@link settings_table}: a misspelt one does not compile. */
export type VariableName = (typeof settings_table)[number]['name'];

/** The variables whose values never appear in a message. */
export const secret_variables: ReadonlySet<string> = new Set<VariableName>([
  'HXO_ADMIRAL_TOKEN',
  'HXO_CAPTAIN_TOKEN',
  'HXO_TOKEN',
  'HXO_BUNDLE_KEY',
]);

/** `HXO_TARGET_<NAME>_URL`: a database that plans call by the name, in lower case. */
export const target_variable = /^HXO_TARGET_([A-Z][A-Z0-9_]{0,62})_URL$/;

/** The default of a variable, as text to parse. */
export function defaultOf(name: VariableName): string {
  return settings_table.find((variable) => variable.name === name)?.default ?? '';
}

/** The known variable whose name is nearest to a misspelt one, by edit distance. */
export function nearestVariable(name: string): VariableName {
  const [nearest] = settings_table
    .map((variable) => ({ name: variable.name, distance: editDistance(name, variable.name) }))
    .sort((a, b) => a.distance - b.distance);
  return nearest?.name ?? 'HXO_ENABLED';
}

/** Levenshtein distance: single-character insertions, deletions and substitutions, one row of the table at a time. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const substituted = (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(substituted, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
