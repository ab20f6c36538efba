import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomUUID,
  type KeyObject,
} from 'node:crypto';
import {
  closeSync,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { sha256, type Digest } from '../digest.js';

/** The Ed25519 key (RFC 8032) that signs certificates. */
export interface SigningKey {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** SHA-256 of the 32 raw bytes of the public key. A hint for people; verification never relies on it. */
  readonly key_id: Digest;
}

/** Who signed, as reports print it. */
export interface Signer {
  /** SHA-256 of the 32 raw bytes of the public key. */
  readonly key_id: Digest;
  /** Base64 of these bytes. */
  readonly public_key: string;
}

/** Thrown when a key file or key text cannot be used. The message says what to do. */
export class KeyFileError extends Error {
  override readonly name = 'KeyFileError';
}

const raw_key_bytes = 32;

/**
 * The signing key in a PKCS#8 PEM file. A missing file is made with a new key, mode 0600, durable before this
 * returns; of two processes that start at once, both get the key of the first. The public key (SPKI PEM) is kept
 * beside it as `<path>.pub`.
 *
 * Throws {@link KeyFileError} when the file is open to group or others, unreadable, or not an Ed25519 key.
 */
export function loadOrCreateSigningKey(path: string): SigningKey {
  const pem = readPrivateFile(path) ?? createKeyFile(path);
  const key = parseSigningKey(pem, path);
  keepPublicKeyBeside(path, key);
  return key;
}

/** The signing key of an Ed25519 private key. Throws {@link KeyFileError} for any other kind of key. */
export function signingKeyOf(privateKey: KeyObject): SigningKey {
  if (privateKey.type !== 'private' || privateKey.asymmetricKeyType !== 'ed25519') {
    throw new KeyFileError(
      'Certificates are signed with an Ed25519 private key, and this is another kind of key.',
    );
  }
  const publicKey = createPublicKey(privateKey);
  return { privateKey, publicKey, key_id: keyId(publicKey) };
}

/**
 * An Ed25519 public key from text: SPKI PEM (the `.pub` file), or base64 of the 32 raw bytes (as reports print it).
 *
 * Throws {@link KeyFileError}.
 */
export function readPublicKey(text: string): KeyObject {
  const trimmed = text.trim();
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(trimmed)) {
    throw new KeyFileError(
      'This is a private key, which verifying must never need: give the public key, its .pub file.',
    );
  }
  const key = trimmed.startsWith('-----BEGIN') ? readPemPublicKey(trimmed) : readRawPublicKey(trimmed);
  if (key?.asymmetricKeyType !== 'ed25519') {
    throw new KeyFileError(
      'Expected an Ed25519 public key: an SPKI PEM file (-----BEGIN PUBLIC KEY-----), or base64 of its 32 raw bytes.',
    );
  }
  return key;
}

/** The 32 raw bytes of an Ed25519 public key (RFC 8032 §5.1.5). */
export function rawPublicKey(publicKey: KeyObject): Buffer {
  return Buffer.from(publicKey.export({ format: 'jwk' }).x!, 'base64url');
}

/** SHA-256 of the 32 raw bytes of an Ed25519 public key. */
export function keyId(publicKey: KeyObject): Digest {
  return sha256(rawPublicKey(publicKey));
}

/** An Ed25519 public key, as reports print it. */
export function signerOf(publicKey: KeyObject): Signer {
  return { key_id: keyId(publicKey), public_key: rawPublicKey(publicKey).toString('base64') };
}

/** The file's text, or undefined when there is none. */
function readPrivateFile(path: string): string | undefined {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw new KeyFileError(`The signing key ${path} cannot be read: ${messageOf(error)}.`, { cause: error });
  }
  try {
    const stat = fstatSync(file);
    if (!stat.isFile()) throw new KeyFileError(`The signing key ${path} is not a file: move it away.`);
    // Windows has no permission bits: every file there looks open to everybody.
    if ((stat.mode & 0o077) !== 0 && process.platform !== 'win32') {
      const bits = (stat.mode & 0o777).toString(8).padStart(4, '0');
      throw new KeyFileError(
        `The signing key ${path} is open to group or others (mode ${bits}). If nobody else can have read it, ` +
          `run: chmod 600 ${path}. Otherwise move it away, and a new key is made at the next start.`,
      );
    }
    return readFileSync(file, 'utf8');
  } finally {
    closeSync(file);
  }
}

/** Makes the key file and returns its text; the text of another process's, when that one was first. */
function createKeyFile(path: string): string {
  const { privateKey } = generateKeyPairSync('ed25519');
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  mkdirSync(dirname(path), { recursive: true });
  const temporary = writeDurably(path, pem, 0o600);
  try {
    // Linking gives the name only to a complete file and only if it is free: a crash leaves no half a key behind.
    linkSync(temporary, path);
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error;
    return readPrivateFile(path)!;
  } finally {
    rmSync(temporary);
  }
  syncDirectory(dirname(path));
  return pem;
}

function parseSigningKey(pem: string, path: string): SigningKey {
  try {
    return signingKeyOf(createPrivateKey(pem));
  } catch (error) {
    throw new KeyFileError(
      `The signing key ${path} is not an unencrypted Ed25519 private key in PKCS#8 PEM: ${messageOf(error)} ` +
        'Move it away, and a new key is made at the next start.',
      { cause: error },
    );
  }
}

/** The public key is only a copy for people, so a directory that may not be written (a mounted secret) is no error. */
function keepPublicKeyBeside(path: string, key: SigningKey): void {
  const pem = key.publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const pubPath = `${path}.pub`;
  try {
    if (readFileSync(pubPath, 'utf8') === pem) return;
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
  try {
    renameSync(writeDurably(pubPath, pem, 0o644), pubPath);
    syncDirectory(dirname(path));
  } catch (error) {
    if (!isErrno(error, 'EROFS', 'EACCES', 'EPERM')) throw error;
  }
}

/** Writes a new file beside `path`, synced, and returns its name. */
function writeDurably(path: string, text: string, mode: number): string {
  const temporary = `${path}.${randomUUID()}.tmp`;
  const file = openSync(temporary, 'wx', mode);
  try {
    writeFileSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  return temporary;
}

/** Makes a new name in a directory survive a power cut. */
function syncDirectory(path: string): void {
  if (process.platform === 'win32') return; // Windows cannot open a directory, and syncs names by itself.
  const directory = openSync(path, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

function readPemPublicKey(pem: string): KeyObject | undefined {
  try {
    return createPublicKey(pem);
  } catch {
    return undefined; // The caller says what was expected, which OpenSSL's message does not.
  }
}

function readRawPublicKey(text: string): KeyObject | undefined {
  const raw = Buffer.from(text, 'base64');
  if (raw.length !== raw_key_bytes || raw.toString('base64') !== text) return undefined;
  return createPublicKey({
    key: { kty: 'OKP', crv: 'Ed25519', x: raw.toString('base64url') },
    format: 'jwk',
  });
}

function isErrno(error: unknown, ...codes: string[]): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code !== undefined && codes.includes(code);
}

function messageOf(error: unknown): string {
  return (error as Error).message;
}
