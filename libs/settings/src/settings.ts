import { isIPv4 } from 'node:net';
import { join } from 'node:path';
import { type AllowedHost, allowed_host_forms, parseAllowedHost } from './allowed-hosts.js';
import { type Environment, SettingsReader } from './reader.js';
import { readTargets, type TargetSettings } from './targets.js';
import { defaultOf, nearestVariable, settings_table, target_variable } from './variables.js';

/** What the server runs by. Paths are absolute; `_ms` are milliseconds. Frozen. */
export interface Settings {
  readonly enabled: boolean;
  readonly default_slo_ms: number;
  /** 0 is no limit. */
  readonly shard_timeout_ms: number;
  readonly max_concurrency: number;
  readonly max_shards: number;
  readonly autosplit_p95_ms: number;
  /** 1 turns splitting off. */
  readonly autosplit_factor: number;
  readonly db_path: string;
  readonly artifacts_dir: string;
  readonly allow_captain_view: boolean;
  readonly genesis_mode: 'enabled' | 'disabled';
  readonly host: string;
  /** 0 is any free port. */
  readonly port: number;
  readonly home: string;
  readonly workspace: string;
  /** Bundles that one process executes at once. */
  readonly worker_concurrency: number;
  /** Shards of each that it executes at once, when their executor only waits. */
  readonly worker_lanes: number;
  readonly event_batch_size: number;
  /** Events per second. */
  readonly event_max_rate: number;
  readonly tokens: { readonly admiral?: string; readonly captain?: string };
  /** Files that hold tokens or the bundle key; none where those are given as values. */
  readonly secret_files: readonly string[];
  readonly signing_key_file: string;
  readonly body_limit_bytes: number;
  readonly drain_ms: number;
  /** Null is no log file. */
  readonly log_file: string | null;
  readonly log_level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
  /** Null runs HXO embedded. */
  readonly redis: RedisSettings | null;
  /** Databases that plans may name, by those names. */
  readonly targets: Readonly<Record<string, TargetSettings>>;
  /** Executors that a worker process offers; empty is all that it has. */
  readonly worker_executors: readonly string[];
  /** Port of a worker's health and metrics; 0 is any free port. */
  readonly worker_port: number;
  /** Globs of compiled modules, relative to the current directory. */
  readonly executors: readonly string[];
  /** Where the HTTP cache is kept warm: no other host is asked for anything. */
  readonly prime_allowed_hosts: readonly AllowedHost[];
  /** Folder of the registry cache and the content cache, when HXO runs embedded. */
  readonly cache_dir: string;
  /** Sentences to log at start: allowed, but perhaps not what was meant. */
  readonly warnings: readonly string[];
}

/** How to reach Redis, and the key that seals what passes through it (null only when Redis is on loopback). */
export interface RedisSettings {
  readonly url: string;
  readonly bundle_key: string | null;
}

/** Which program runs: the server keeps the state, a worker reads the workspace and writes artifacts. */
export type Program = 'server' | 'worker';

/** What settings need of the machine, handed in so that reading them stays a pure function. */
export interface Machine {
  /** Shards that can compute at once. */
  readonly cores: number;
  /** Reads a token file. Throws when it cannot. */
  readonly readFile: (path: string) => string;
}

/** Longest delay that a Node timer can keep: 2^31 - 1 ms, 24.8 days. A longer one would fire at once. */
const timer_max_ms = 2_147_483_647;
const token_min_length = 16;
const shards_warning_above = 1_000_000;

/**
 * Reads settings from an environment, checking all of it, for the program that is to run by them.
 *
 * Throws {@link SettingsError} listing every variable that is wrong.
 */
export function readSettings(
  env: Environment,
  cwd: string,
  machine: Machine,
  program: Program = 'server',
): Settings {
  const read = new SettingsReader(env, cwd);
  const home = read.path('HXO_HOME', defaultOf('HXO_HOME'));
  const max_concurrency = read.integer('HXO_MAX_CONCURRENCY', 1, 65_536);
  const settings = {
    enabled: read.flag('HXO_ENABLED'),
    default_slo_ms: read.integer('HXO_DEFAULT_SLO_MS', 1, timer_max_ms),
    shard_timeout_ms: read.integer('HXO_SHARD_TIMEOUT_MS', 0, timer_max_ms),
    max_concurrency,
    max_shards: read.integer('HXO_MAX_SHARDS', 1, 1_000_000_000),
    autosplit_p95_ms: read.integer('HXO_AUTOSPLIT_P95_MS', 1, timer_max_ms),
    autosplit_factor: read.integer('HXO_AUTOSPLIT_FACTOR', 1, 1024),
    db_path: read.path('HXO_DB_PATH', join(home, 'checkpoints.db')),
    artifacts_dir: read.path('HXO_ARTIFACTS_DIR', join(home, 'artifacts')),
    allow_captain_view: read.flag('HXO_ALLOW_CAPTAIN_VIEW'),
    genesis_mode: read.choice('GENESIS_MODE', ['enabled', 'disabled']),
    host: readHost(read),
    port: read.integer('HXO_PORT', 0, 65_535),
    home,
    workspace: read.path('HXO_WORKSPACE', '.'),
    ...readWorkerConcurrency(read, machine, max_concurrency),
    event_batch_size: read.integer('HXO_EVENT_BATCH_SIZE', 1, 10_000),
    event_max_rate: read.integer('HXO_EVENT_MAX_RATE', 1, 1_000_000),
    tokens: readTokens(read, machine),
    secret_files: readSecretFiles(read),
    signing_key_file: read.path('HXO_SIGNING_KEY_FILE', join(home, 'keys', 'signing.pem')),
    body_limit_bytes: read.integer('HXO_BODY_LIMIT_BYTES', 1024, 104_857_600),
    drain_ms: read.integer('HXO_DRAIN_MS', 0, 600_000),
    log_file: read.isEmpty('HXO_LOG_FILE') ? null : read.path('HXO_LOG_FILE', defaultOf('HXO_LOG_FILE')),
    log_level: read.choice('HXO_LOG_LEVEL', ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
    redis: readRedis(read, machine),
    targets: readTargets(read, cwd),
    worker_executors: Object.freeze(read.list('HXO_WORKER_EXECUTORS')),
    worker_port: read.integer('HXO_WORKER_PORT', 0, 65_535),
    executors: Object.freeze(read.list('HXO_EXECUTORS')),
    prime_allowed_hosts: readAllowedHosts(read),
    cache_dir: join(home, 'cache'),
  };
  // A worker has nothing but health and metrics to show, and takes its work from Redis: it needs no tokens.
  if (program === 'server') refuseOpenDoor(read, settings.host, settings.tokens);
  refusePostgres(read);
  read.finish();
  return Object.freeze({ ...settings, warnings: Object.freeze(warningsFor(settings, env)) });
}

/** Files and folders of HXO itself, as absolute paths: no plan may read them, and no target may be one of them. */
export function hxoFiles(settings: Settings): string[] {
  const database = ['', '-wal', '-shm', '.lock'].map((suffix) => `${settings.db_path}${suffix}`);
  const keys = [settings.signing_key_file, ...settings.secret_files];
  const own = [settings.home, ...database, settings.artifacts_dir, ...keys];
  return settings.log_file === null ? own : [...own, settings.log_file];
}

/** The workspace, and what in it no plan may read. */
export interface WorkspaceSettings {
  readonly root: string;
  /** {@link hxoFiles}. */
  readonly forbidden: readonly string[];
  /** SQLite databases, HXO's own and the targets, whose journals are not to be read either. */
  readonly databases: readonly string[];
  /** Log files, which others may have rotated. */
  readonly logs: readonly string[];
}

/**
 * The workspace as plans may see it. Targets are closed here only: what {@link hxoFiles} names can be no target. A plan may
 * migrate a database and pack the tree that it lies in side by side; it would else find the file changed under its hands.
 */
export function workspaceOf(settings: Settings): WorkspaceSettings {
  const { workspace, db_path, log_file, targets } = settings;
  const databases = Object.values(targets).filter((target) => target.dialect === 'sqlite');
  return {
    root: workspace,
    forbidden: hxoFiles(settings),
    // HXO's lock is a small SQLite database of its own.
    databases: [db_path, `${db_path}.lock`, ...databases.map(({ path }) => path)],
    logs: log_file === null ? [] : [log_file],
  };
}

/** True for a host that only this machine can reach: `localhost`, 127.0.0.0/8, `::1` (in brackets, too). */
export function isLoopbackHost(host: string): boolean {
  const name = host.toLowerCase();
  return ['localhost', '::1', '[::1]'].includes(name) || (isIPv4(name) && name.startsWith('127.'));
}

/**
 * HXO_WORKER_CONCURRENCY bounds all shards of a process. Left out, those that compute have a core each, and those that only
 * wait share HXO_MAX_CONCURRENCY among as many.
 */
function readWorkerConcurrency(
  read: SettingsReader,
  { cores }: Machine,
  max_concurrency: number,
): Pick<Settings, 'worker_concurrency' | 'worker_lanes'> {
  const worker_concurrency = read.integer('HXO_WORKER_CONCURRENCY', 1, 1024, cores);
  const bounded = read.isSet('HXO_WORKER_CONCURRENCY');
  return { worker_concurrency, worker_lanes: bounded ? 1 : Math.ceil(max_concurrency / cores) };
}

function readHost(read: SettingsReader): string {
  const host = (read.text('HXO_HOST') ?? defaultOf('HXO_HOST')).replace(/^\[(.*)\]$/, '$1').toLowerCase();
  if (!/^[a-z0-9.:_-]{1,253}$/.test(host) || /^[^:]+:\d+$/.test(host)) {
    read.refuse('HXO_HOST', 'a host name or an IP address is allowed; the port goes in HXO_PORT.');
  }
  return host;
}

function readTokens(read: SettingsReader, machine: Machine): Settings['tokens'] {
  const admiral = readSecret(read, machine, 'HXO_ADMIRAL_TOKEN', 'HXO_ADMIRAL_TOKEN_FILE');
  const captain = readSecret(read, machine, 'HXO_CAPTAIN_TOKEN', 'HXO_CAPTAIN_TOKEN_FILE');
  if (admiral !== undefined && admiral === captain) {
    read.refuse('HXO_CAPTAIN_TOKEN', 'must differ from HXO_ADMIRAL_TOKEN, or every Captain is an Admiral.');
  }
  return Object.freeze({ ...(admiral && { admiral }), ...(captain && { captain }) });
}

function readSecretFiles(read: SettingsReader): readonly string[] {
  const files = secret_file_variables.filter((name) => read.isSet(name)).map((name) => read.path(name, ''));
  return Object.freeze(files);
}

type SecretName = 'HXO_ADMIRAL_TOKEN' | 'HXO_CAPTAIN_TOKEN' | 'HXO_BUNDLE_KEY';

const secret_file_variables = [
  'HXO_ADMIRAL_TOKEN_FILE',
  'HXO_CAPTAIN_TOKEN_FILE',
  'HXO_BUNDLE_KEY_FILE',
] as const satisfies readonly `${SecretName}_FILE`[];

/** A secret given as a value, or as a file that holds it. */
function readSecret(
  read: SettingsReader,
  machine: Machine,
  name: SecretName,
  fileName: `${SecretName}_FILE`,
): string | undefined {
  let token = read.text(name);
  if (read.text(fileName) !== undefined) {
    if (token !== undefined) {
      read.refuse(fileName, `${name} is set as well. Keep one of the two, the file by preference.`);
      return undefined;
    }
    try {
      token = machine.readFile(read.path(fileName, '')).trim();
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      read.refuse(fileName, `the name of a readable file is allowed (${why}).`);
      return undefined;
    }
  }
  if (token === undefined) return undefined;
  if (token.length < token_min_length || !/^[\x21-\x7e]+$/.test(token)) {
    const where = read.text(fileName) === undefined ? name : fileName;
    read.refuse(
      where,
      `it has at least ${token_min_length} visible ASCII characters without spaces; make one with: openssl rand -base64 32`,
    );
    return undefined;
  }
  return token;
}

function refuseOpenDoor(read: SettingsReader, host: string, tokens: Settings['tokens']): void {
  if (isLoopbackHost(host) || tokens.admiral !== undefined || tokens.captain !== undefined) return;
  read.refuse(
    'HXO_HOST',
    'this address can be reached from other machines, so tokens are required: set HXO_ADMIRAL_TOKEN or ' +
      'HXO_ADMIRAL_TOKEN_FILE (and HXO_CAPTAIN_TOKEN or HXO_CAPTAIN_TOKEN_FILE for viewers), or listen on 127.0.0.1.',
  );
}

function readRedis(read: SettingsReader, machine: Machine): RedisSettings | null {
  const url = read.text('HXO_REDIS_URL');
  const bundle_key = readSecret(read, machine, 'HXO_BUNDLE_KEY', 'HXO_BUNDLE_KEY_FILE') ?? null;
  if (url === undefined) return null;
  if (!URL.canParse(url) || !/^rediss?:$/.test(new URL(url).protocol) || new URL(url).host === '') {
    read.refuse('HXO_REDIS_URL', 'an address such as redis://127.0.0.1:6379 is allowed (rediss:// for TLS).');
    return null;
  }
  const host = new URL(url).hostname.replace(/^\[(.*)\]$/, '$1');
  if (bundle_key === null && !isLoopbackHost(host)) {
    read.refuse(
      'HXO_BUNDLE_KEY',
      'Redis is on another machine, where others may write: set the same HXO_BUNDLE_KEY or HXO_BUNDLE_KEY_FILE for the API and every worker.',
    );
  }
  return Object.freeze({ url, bundle_key });
}

function readAllowedHosts(read: SettingsReader): readonly AllowedHost[] {
  const entries = read.list('HXO_PRIME_ALLOWED_HOSTS').map(parseAllowedHost);
  if (entries.includes(null)) {
    read.refuse(
      'HXO_PRIME_ALLOWED_HOSTS',
      `hosts and addresses are allowed, with or without a port, comma-separated: ${allowed_host_forms}.`,
    );
  }
  return Object.freeze(entries.filter((entry) => entry !== null));
}

/** Ignoring it would keep a fleet's plans in a file of one machine: better not to start. */
function refusePostgres(read: SettingsReader): void {
  if (!read.isSet('HXO_DB_URL')) return;
  read.refuse(
    'HXO_DB_URL',
    'PostgreSQL as the checkpoint store is not in this build. Unset it to use the SQLite file.',
  );
}

function warningsFor(
  settings: Pick<Settings, 'shard_timeout_ms' | 'max_shards' | 'enabled'>,
  env: Environment,
): string[] {
  const warnings: string[] = [];
  if (settings.shard_timeout_ms === 0) {
    warnings.push(
      'HXO_SHARD_TIMEOUT_MS=0 disables the shard timeout, a safety guard: a shard that hangs holds its worker for ever.',
    );
  }
  if (settings.max_shards > shards_warning_above) {
    warnings.push(
      `HXO_MAX_SHARDS=${settings.max_shards} is above ${shards_warning_above}: test plans of that size before relying on it.`,
    );
  }
  if (!settings.enabled) warnings.push('HXO_ENABLED=false: plans are neither accepted nor resumed.');
  return [...warnings, ...unknownVariables(env)];
}

function unknownVariables(env: Environment): string[] {
  const known = new Set<string>(settings_table.map((variable) => variable.name));
  return Object.keys(env)
    .filter((name) => /^(HXO|GENESIS)_/.test(name) && !known.has(name) && env[name]?.trim())
    .filter((name) => !target_variable.test(name))
    .sort()
    .map((name) => `${name} is not a setting of HXO and is ignored. Did you mean ${nearestVariable(name)}?`);
}
