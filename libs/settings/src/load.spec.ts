import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { childEnvironment, loadClientSettings, loadSettings } from './load.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hxo-settings-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
  delete process.env.HXO_MAX_SHARDS;
});

it('reads .env, and lets the environment win', () => {
  writeFileSync(
    join(folder, '.env'),
    'HXO_MAX_SHARDS=10 # few\nHXO_DRAIN_MS=500\nHXO_URL=http://localhost:9\n',
  );
  process.env.HXO_MAX_SHARDS = '20';
  const settings = loadSettings(folder);
  expect(settings.max_shards).toBe(20);
  expect(settings.drain_ms).toBe(500);
  expect(settings.home).toBe(join(folder, '.hxo'));
  expect(loadClientSettings({}, folder).url).toBe('http://localhost:9');
  expect(loadClientSettings({ HXO_URL: 'https://hxo' }, folder).url).toBe('https://hxo');
});

it('needs no .env', () => {
  expect(loadSettings(folder).workspace).toBe(folder);
});

it('names an .env that cannot be read', () => {
  mkdirSync(join(folder, '.env'));
  expect(() => loadSettings(folder)).toThrow(/^Fix this setting .*\.env: it cannot be read \(EISDIR/);
});

it('reads a token from its file', () => {
  writeFileSync(join(folder, 'token'), 'a-token-of-some-length\n');
  writeFileSync(join(folder, '.env'), 'HXO_ADMIRAL_TOKEN_FILE=token\n');
  expect(loadSettings(folder).tokens.admiral).toBe('a-token-of-some-length');
});

it('hands a child none of its own HXO variables', () => {
  process.env.HXO_MAX_SHARDS = '20';
  const env = childEnvironment({ HXO_PORT: '0' });
  expect(env).not.toHaveProperty('HXO_MAX_SHARDS');
  expect(env).toMatchObject({ HXO_PORT: '0', PATH: process.env.PATH });
});
