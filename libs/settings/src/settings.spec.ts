import { readFileSync } from 'node:fs';
import { parse } from 'dotenv';
import { readClientSettings } from './client-settings.js';
import { type Environment, SettingsError } from './reader.js';
import { hxoFiles, isLoopbackHost, readSettings, workspaceOf } from './settings.js';
import { nearestVariable, settings_table } from './variables.js';

const files: Record<string, string> = {
  '/run/admiral': 'admiral-token-from-a-file\n',
  '/run/short': 'abc\n',
  '/srv/app/run/key': 'bundle-key-from-a-file\n',
};
const machine = {
  cores: 6,
  readFile: (path: string) => {
    const text = files[path];
    if (text === undefined) throw new Error(`ENOENT: no such file ${path}`);
    return text;
  },
};
const read = (env: Environment) => readSettings(env, '/srv/app', machine);

function problemsOf(env: Environment): Record<string, string> {
  try {
    read(env);
  } catch (error) {
    if (error instanceof SettingsError) {
      return Object.fromEntries(error.problems.map((problem) => [problem.variable, problem.allowed]));
    }
    throw error;
  }
  throw new Error('Expected these settings to be refused.');
}

/** As the quick reference writes them. */
const commented_lines = [
  '# Safety limits',
  'HXO_DEFAULT_SLO_MS=120000        # 2 minutes',
  'HXO_SHARD_TIMEOUT_MS=15000       # 15 seconds',
  'HXO_MAX_CONCURRENCY=64           # Max parallel shards',
  'HXO_MAX_SHARDS=1000000           # Hard cap',
  '# Split shards if p95 latency exceeds threshold',
  'HXO_AUTOSPLIT_P95_MS=8000        # 8 seconds',
  'HXO_AUTOSPLIT_FACTOR=4           # Split into 4 sub-shards',
  'HXO_ALLOW_CAPTAIN_VIEW=true      # Captains can view status',
];

const defaults = {
  enabled: true,
  default_slo_ms: 120_000,
  shard_timeout_ms: 15_000,
  max_concurrency: 64,
  max_shards: 1_000_000,
  autosplit_p95_ms: 8000,
  autosplit_factor: 4,
  db_path: '/srv/app/.hxo/checkpoints.db',
  artifacts_dir: '/srv/app/.hxo/artifacts',
  allow_captain_view: true,
  genesis_mode: 'enabled',
  host: '127.0.0.1',
  port: 8000,
  home: '/srv/app/.hxo',
  workspace: '/srv/app',
  worker_concurrency: 6,
  worker_lanes: 11,
  event_batch_size: 100,
  event_max_rate: 1000,
  tokens: {},
  secret_files: [],
  signing_key_file: '/srv/app/.hxo/keys/signing.pem',
  body_limit_bytes: 1_048_576,
  drain_ms: 10_000,
  log_file: '/srv/app/logs/app.log',
  log_level: 'info',
  redis: null,
  targets: {},
  worker_executors: [],
  worker_port: 8001,
  executors: [],
  prime_allowed_hosts: [],
  cache_dir: '/srv/app/.hxo/cache',
  warnings: [],
};

describe('defaults', () => {
  it('need no environment at all', () => {
    expect(read({})).toEqual(defaults);
  });

  it('hold where a variable is empty, but for an empty HXO_LOG_FILE, which means none', () => {
    const empty = Object.fromEntries(settings_table.map((variable) => [variable.name, '']));
    expect(read(empty)).toEqual({ ...defaults, log_file: null });
  });

  it('are what .env.example says, and it names every variable', () => {
    const example = readFileSync('.env.example', 'utf8');
    expect(read(parse(example))).toEqual(defaults);
    const named = [...example.matchAll(/^(?:# )?([A-Z0-9_]+)=/gm)].map((match) => match[1]);
    expect(named.sort()).toEqual(settings_table.map((variable) => variable.name).sort());
  });

  it('carry the quick reference’s comments in .env.example', () => {
    const lines = readFileSync('.env.example', 'utf8').split('\n');
    expect(lines).toEqual(
      expect.arrayContaining(['# Enable/disable HXO', 'HXO_ENABLED=true', ...commented_lines]),
    );
  });

  it('are frozen, tokens and lists included', () => {
    const settings = read({ HXO_ADMIRAL_TOKEN: 'sixteen-characters' });
    for (const part of [settings, settings.tokens, settings.executors, settings.warnings]) {
      expect(Object.isFrozen(part)).toBe(true);
    }
  });
});

describe('values', () => {
  it('of the quick reference parse, comments and export included', () => {
    const lines = `
      ${commented_lines.join('\n')}
      HXO_DB_PATH=bridge_backend/.hxo/checkpoints.db
      HXO_ARTIFACTS_DIR=bridge_backend/.hxo/artifacts
      export HXO_ENABLED=true
      export HXO_MAX_CONCURRENCY=128
      export HXO_AUTOSPLIT_P95_MS=5000`;
    expect(read(parse(lines))).toEqual({
      ...defaults,
      max_concurrency: 128,
      worker_lanes: 22,
      autosplit_p95_ms: 5000,
      db_path: '/srv/app/bridge_backend/.hxo/checkpoints.db',
      artifacts_dir: '/srv/app/bridge_backend/.hxo/artifacts',
    });
  });

  it('under HXO_HOME move with it', () => {
    const settings = read({ HXO_HOME: '/data/hxo' });
    expect(settings.db_path).toBe('/data/hxo/checkpoints.db');
    expect(settings.artifacts_dir).toBe('/data/hxo/artifacts');
    expect(settings.signing_key_file).toBe('/data/hxo/keys/signing.pem');
  });

  it('may be written in the usual ways', () => {
    expect(read({ HXO_ENABLED: ' OFF ' }).enabled).toBe(false);
    expect(read({ GENESIS_MODE: 'Disabled' }).genesis_mode).toBe('disabled');
    expect(read({ HXO_HOST: '[::1]' }).host).toBe('::1');
    expect(read({ HXO_PORT: '0' }).port).toBe(0);
    expect(read({ HXO_EXECUTORS: 'dist/a/*.js, dist/b.js,' }).executors).toEqual([
      'dist/a/*.js',
      'dist/b.js',
    ]);
  });
});

describe('bad values', () => {
  it('are listed all at once, each with its value and what is allowed', () => {
    const bad = { HXO_PORT: '70000', HXO_ENABLED: 'perhaps', HXO_MAX_SHARDS: '1e6', HXO_LOG_LEVEL: 'loud' };
    expect(() => read(bad)).toThrow(SettingsError);
    try {
      read(bad);
    } catch (error) {
      const message = (error as Error).message;
      expect(message).toContain('HXO_PORT=70000: a whole number from 0 to 65535');
      expect(message).toContain('HXO_ENABLED=perhaps: true or false');
      expect(message).toContain('HXO_MAX_SHARDS=1e6');
      expect(message).toContain('HXO_LOG_LEVEL=loud: one of trace, debug');
    }
  });

  const everyInteger = settings_table.filter((variable) => /^\d+$/.test(variable.default));
  it.each([...everyInteger.map((variable) => variable.name), 'HXO_WORKER_CONCURRENCY'])(
    '%s takes whole numbers only',
    (name) => {
      for (const text of ['-1', '1.5', 'ten', '0x10', '1e3', 'NaN', '99999999999999999', '10 # ten']) {
        expect(Object.keys(problemsOf({ [name]: text }))).toEqual([name]);
      }
    },
  );

  it('HXO_PRIME_ALLOWED_HOSTS is a list of hosts, not of URLs', () => {
    const { prime_allowed_hosts } = read({ HXO_PRIME_ALLOWED_HOSTS: 'localhost:3000, 10.0.0.0/8' });
    expect(prime_allowed_hosts).toEqual([
      { host: 'localhost', prefix_bits: null, port: 3000 },
      { host: '10.0.0.0', prefix_bits: 8, port: null },
    ]);
    const problems = problemsOf({ HXO_PRIME_ALLOWED_HOSTS: 'localhost, https://example.com' });
    expect(problems.HXO_PRIME_ALLOWED_HOSTS).toContain('10.0.0.0/8');
  });

  it('lets shards that wait share HXO_MAX_CONCURRENCY, unless HXO_WORKER_CONCURRENCY bounds all of a process', () => {
    expect(read({ HXO_MAX_CONCURRENCY: '13' })).toMatchObject({ worker_concurrency: 6, worker_lanes: 3 });
    const bounded = read({ HXO_WORKER_CONCURRENCY: '8' });
    expect(bounded).toMatchObject({ max_concurrency: 64, worker_concurrency: 8, worker_lanes: 1 });
  });

  it.each(['a b', 'http://localhost', 'localhost:8000', '127.0.0.1/8'])('HXO_HOST=%s is refused', (host) => {
    expect(problemsOf({ HXO_HOST: host })).toHaveProperty('HXO_HOST');
  });

  it.each(['HXO_DB_URL'])('%s is refused rather than ignored', (name) => {
    expect(problemsOf({ [name]: 'redis://localhost' })[name]).toContain('not in this build');
  });
});

describe('Redis', () => {
  it('is off without an address, and needs no key on loopback', () => {
    expect(read({}).redis).toBeNull();
    const url = 'redis://127.0.0.1:6379';
    expect(read({ HXO_REDIS_URL: url }).redis).toEqual({ url, bundle_key: null });
  });

  it('on another machine needs the key that seals what passes through it', () => {
    const url = 'redis://redis.internal:6379';
    expect(problemsOf({ HXO_REDIS_URL: url })).toHaveProperty('HXO_BUNDLE_KEY');
    const bundle_key = 'sixteen-characters';
    expect(read({ HXO_REDIS_URL: url, HXO_BUNDLE_KEY: bundle_key }).redis).toEqual({ url, bundle_key });
  });

  it.each(['localhost:6379', 'http://localhost', 'redis', 'redis://'])(
    'HXO_REDIS_URL=%s is refused',
    (url) => {
      expect(problemsOf({ HXO_REDIS_URL: url })).toHaveProperty('HXO_REDIS_URL');
    },
  );
});

describe('tokens', () => {
  it('come from a variable or a file', () => {
    const settings = read({
      HXO_ADMIRAL_TOKEN_FILE: '/run/admiral',
      HXO_CAPTAIN_TOKEN: 'captain-0123456789',
    });
    expect(settings.tokens).toEqual({ admiral: 'admiral-token-from-a-file', captain: 'captain-0123456789' });
  });

  it('never appear in messages', () => {
    const secret = 'short-secret';
    try {
      read({ HXO_ADMIRAL_TOKEN: secret });
      throw new Error('A short token was taken.');
    } catch (error) {
      expect((error as Error).message).toContain('HXO_ADMIRAL_TOKEN: it has at least 16');
      expect((error as Error).message).not.toContain(secret);
    }
  });

  it('are refused when given twice, unreadable, too short, unprintable or shared by both roles', () => {
    const good = 'sixteen-characters';
    expect(problemsOf({ HXO_ADMIRAL_TOKEN: good, HXO_ADMIRAL_TOKEN_FILE: '/run/admiral' })).toHaveProperty(
      'HXO_ADMIRAL_TOKEN_FILE',
    );
    expect(problemsOf({ HXO_CAPTAIN_TOKEN_FILE: '/run/none' }).HXO_CAPTAIN_TOKEN_FILE).toContain('ENOENT');
    expect(problemsOf({ HXO_CAPTAIN_TOKEN_FILE: '/run/short' })).toHaveProperty('HXO_CAPTAIN_TOKEN_FILE');
    expect(problemsOf({ HXO_CAPTAIN_TOKEN: 'sixteen characters' })).toHaveProperty('HXO_CAPTAIN_TOKEN');
    expect(problemsOf({ HXO_ADMIRAL_TOKEN: good, HXO_CAPTAIN_TOKEN: good })).toHaveProperty(
      'HXO_CAPTAIN_TOKEN',
    );
  });

  it.each(['0.0.0.0', '::', '192.168.1.4', 'build.example.org'])('are required to listen on %s', (host) => {
    expect(problemsOf({ HXO_HOST: host }).HXO_HOST).toContain('HXO_ADMIRAL_TOKEN');
    expect(read({ HXO_HOST: host, HXO_ADMIRAL_TOKEN: 'sixteen-characters' }).host).toBe(host);
  });

  it('are not required of a worker, which has only health and metrics to show', () => {
    expect(readSettings({ HXO_HOST: '0.0.0.0' }, '/srv/app', machine, 'worker').host).toBe('0.0.0.0');
  });

  it('are not required on loopback', () => {
    for (const host of ['localhost', '127.0.0.1', '127.8.8.8', '::1']) {
      expect(read({ HXO_HOST: host }).host).toBe(host);
    }
  });

  it('know addresses of this machine from names that look like them', () => {
    // IsLoopback, in the permissions, has the same vectors: the two answer alike.
    const { loopback, others } = JSON.parse(
      readFileSync(new URL('../../../test/vectors/loopback.json', import.meta.url), 'utf8'),
    ) as Record<'loopback' | 'others', string[]>;
    expect([loopback.length, others.length]).toEqual([6, 8]);
    expect(loopback.filter((host) => !isLoopbackHost(host))).toEqual([]);
    expect(others.filter(isLoopbackHost)).toEqual([]);
  });
});

describe('files of HXO itself', () => {
  it('are its state, its keys and the files of its secrets: no plan reads them, no target is one', () => {
    const settings = read({
      HXO_ADMIRAL_TOKEN_FILE: '/run/admiral',
      HXO_BUNDLE_KEY_FILE: 'run/key',
      HXO_SIGNING_KEY_FILE: '/run/signing.pem',
      HXO_DB_PATH: 'hxo.db',
      HXO_LOG_FILE: 'app.log',
    });
    const own = hxoFiles(settings);
    const named = ['.hxo', 'hxo.db', 'hxo.db-wal', '.hxo/artifacts', 'run/key', 'app.log'];
    expect(own).toEqual(expect.arrayContaining(named.map((path) => `/srv/app/${path}`)));
    expect(own).toEqual(expect.arrayContaining(['/run/admiral', '/run/signing.pem']));
    expect(workspaceOf(settings)).toEqual({
      root: '/srv/app',
      forbidden: own,
      databases: ['/srv/app/hxo.db', '/srv/app/hxo.db.lock'],
      logs: ['/srv/app/app.log'],
    });
  });

  it('are told apart from targets, which plans write but do not read', () => {
    const settings = read({
      HXO_TARGET_DEFAULT_URL: 'sqlite:app.db',
      HXO_TARGET_STOCK_URL: 'postgres://user@host/stock',
    });
    expect(hxoFiles(settings)).not.toContain('/srv/app/app.db');
    expect(workspaceOf(settings).databases.slice(2)).toEqual(['/srv/app/app.db']);
  });

  it('have no log among them when there is none', () => {
    expect(workspaceOf(read({ HXO_LOG_FILE: '' })).logs).toEqual([]);
  });
});

describe('warnings', () => {
  it('speak of a disabled timeout, a plan cap above a million and a disabled HXO', () => {
    expect(read({ HXO_SHARD_TIMEOUT_MS: '0' }).warnings).toEqual([
      expect.stringContaining('HXO_SHARD_TIMEOUT_MS'),
    ]);
    expect(read({ HXO_MAX_SHARDS: '1000001' }).warnings).toEqual([expect.stringContaining('HXO_MAX_SHARDS')]);
    expect(read({ HXO_ENABLED: 'false' }).warnings).toEqual([expect.stringContaining('HXO_ENABLED')]);
  });

  it('name the nearest variable to an unknown one', () => {
    expect(nearestVariable('HXO_MAX_SHARD')).toBe('HXO_MAX_SHARDS');
    expect(nearestVariable('GENESIS_MOD')).toBe('GENESIS_MODE');
    const { warnings } = read({
      HXO_SHARDS_TIMEOUT_MS: '1',
      HXO_TARGET_DEFAULT: 'sqlite:x',
      HOME: '/root',
    });
    expect(warnings).toEqual([
      expect.stringContaining('Did you mean HXO_SHARD_TIMEOUT_MS?'),
      expect.stringContaining('Did you mean HXO_TARGET_DEFAULT_URL?'),
    ]);
  });
});

describe('targets', () => {
  it('are named by their variables', () => {
    const { targets, warnings } = read({
      HXO_TARGET_DEFAULT_URL: 'sqlite:data/app.db',
      HXO_TARGET_OLD_SHOP_URL: 'sqlite:///var/lib/shop.db',
      HXO_TARGET_BOOKS_URL: 'postgres://me:pass@db:5433/books?sslmode=require',
      HXO_TARGET_EMPTY_URL: ' ',
    });
    expect(warnings).toEqual([]);
    expect(targets).toEqual({
      default: { dialect: 'sqlite', path: '/srv/app/data/app.db' },
      old_shop: { dialect: 'sqlite', path: '/var/lib/shop.db' },
      books: { dialect: 'postgres', url: 'postgres://me:pass@db:5433/books?sslmode=require' },
    });
  });

  it.each(['mysql://u:canary@h/d', 'sqlite:', 'sqlite://host/canary', 'postgres://u:canary@h', 'canary'])(
    'refuse %s without showing it',
    (url) => {
      const variable = 'HXO_TARGET_DEFAULT_URL';
      expect(problemsOf({ [variable]: url })[variable]).toContain('sqlite:app.db');
      expect(() => read({ [variable]: url })).toThrow(/^(?!.*canary)/s);
    },
  );
});

describe('client settings', () => {
  const client = (env: Environment) => readClientSettings(env, '/srv/app');

  it('follow HXO_URL, else HXO_PORT', () => {
    expect(client({})).toEqual({ url: 'http://127.0.0.1:8000' });
    expect(client({ HXO_PORT: '9000' })).toEqual({ url: 'http://127.0.0.1:9000' });
    expect(client({ HXO_URL: 'https://hxo.example.org/base/', HXO_PORT: 'x', HXO_TOKEN: 't' })).toEqual({
      url: 'https://hxo.example.org/base',
      token: 't',
    });
  });

  it('refuse what is no server', () => {
    for (const env of [
      { HXO_URL: 'ftp://x' },
      { HXO_URL: 'localhost:8000' },
      { HXO_PORT: '0' },
      { HXO_PORT: 'x' },
    ]) {
      expect(() => client(env)).toThrow(SettingsError);
    }
  });
});
