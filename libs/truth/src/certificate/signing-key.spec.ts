import { generateKeyPairSync, sign, verify } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sha256 } from '../digest.js';
import {
  keyId,
  KeyFileError,
  loadOrCreateSigningKey,
  rawPublicKey,
  readPublicKey,
  signingKeyOf,
} from './signing-key.js';

let home: string;
let path: string;

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'hxo-key-'));
  path = join(home, 'keys', 'signing-key.pem');
});

afterEach(() => rmSync(home, { recursive: true, force: true }));

describe('loadOrCreateSigningKey', () => {
  it('makes a private file with its public key beside it, and loads the same key again', () => {
    const made = loadOrCreateSigningKey(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, 'utf8')).toMatch(/^-----BEGIN PRIVATE KEY-----/);
    expect(readdirSync(join(home, 'keys')).sort()).toEqual(['signing-key.pem', 'signing-key.pem.pub']);

    const loaded = loadOrCreateSigningKey(path);
    expect(loaded.key_id).toBe(made.key_id);
    const signature = sign(null, Buffer.from('x'), loaded.privateKey);
    const published = readPublicKey(readFileSync(`${path}.pub`, 'utf8'));
    expect(verify(null, Buffer.from('x'), published, signature)).toBe(true);
  });

  it('names a key by the SHA-256 of its raw bytes', () => {
    const { publicKey, key_id } = loadOrCreateSigningKey(path);
    expect(rawPublicKey(publicKey)).toHaveLength(32);
    expect(key_id).toBe(sha256(rawPublicKey(publicKey)));
    expect(keyId(publicKey)).toBe(key_id);
  });

  it('writes a public key again that is missing or of another key', () => {
    loadOrCreateSigningKey(path);
    const right = readFileSync(`${path}.pub`, 'utf8');
    writeFileSync(`${path}.pub`, 'stale');
    loadOrCreateSigningKey(path);
    expect(readFileSync(`${path}.pub`, 'utf8')).toBe(right);
    rmSync(`${path}.pub`);
    loadOrCreateSigningKey(path);
    expect(readFileSync(`${path}.pub`, 'utf8')).toBe(right);
  });

  it.each([0o640, 0o604, 0o660, 0o644])('refuses a file of mode %o', (mode) => {
    loadOrCreateSigningKey(path);
    chmodSync(path, mode);
    expect(() => loadOrCreateSigningKey(path)).toThrow(KeyFileError);
    expect(() => loadOrCreateSigningKey(path)).toThrow(`chmod 600 ${path}`);
  });

  it.each([
    ['an empty file', ''],
    ['no PEM', 'secret'],
    [
      'a key of another kind',
      generateKeyPairSync('x25519').privateKey.export({ type: 'pkcs8', format: 'pem' }),
    ],
    ['a public key', generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' })],
  ])('refuses %s and leaves it as it is', (_, text) => {
    loadOrCreateSigningKey(path);
    writeFileSync(path, text);
    expect(() => loadOrCreateSigningKey(path)).toThrow('is not an unencrypted Ed25519 private key');
    expect(readFileSync(path, 'utf8')).toBe(text);
  });

  it('refuses a directory in its place', () => {
    expect(() => loadOrCreateSigningKey(home)).toThrow(KeyFileError);
    expect(existsSync(`${home}.pub`)).toBe(false);
  });
});

describe('readPublicKey', () => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const raw = rawPublicKey(publicKey).toString('base64');

  it('reads SPKI PEM and base64 of the raw bytes', () => {
    const pem = publicKey.export({ type: 'spki', format: 'pem' });
    expect(readPublicKey(pem.toString()).equals(publicKey)).toBe(true);
    expect(readPublicKey(`${raw}\n`).equals(publicKey)).toBe(true);
  });

  it.each([
    ['nothing', ''],
    ['too few bytes', Buffer.alloc(31).toString('base64')],
    ['base64 without padding', raw.slice(0, -1)],
    ['broken PEM', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----'],
    [
      'a key of another kind',
      generateKeyPairSync('x25519').publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    ],
  ])('refuses %s', (_, text) => {
    expect(() => readPublicKey(text)).toThrow('Expected an Ed25519 public key');
  });

  it('refuses a private key', () => {
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    expect(() => readPublicKey(pem)).toThrow('This is a private key');
  });
});

describe('signingKeyOf', () => {
  it('refuses what cannot sign with Ed25519', () => {
    expect(() => signingKeyOf(generateKeyPairSync('x25519').privateKey)).toThrow(KeyFileError);
    expect(() => signingKeyOf(generateKeyPairSync('ed25519').publicKey)).toThrow(KeyFileError);
  });
});
