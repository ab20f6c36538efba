import { mkdtempSync, readdirSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ArtifactMissing, sha256 } from '#hxo/execute';
import { createArtifactStore, type FileArtifactStore } from './artifact-store.js';

let dir: string;
let store: FileArtifactStore;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hxo-artifacts-'));
  store = createArtifactStore(dir);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const blob = Buffer.from('the bytes');
const digest = sha256(blob);
const pathOfBlob = (): string => join(dir, digest.slice(0, 2), digest.slice(2));
const temporaries = (): string[] => readdirSync(join(dir, 'tmp'));

async function* pieces(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text);
}

async function read(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of await store.open(digest)) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

describe('artifact store', () => {
  it('gives back what was put, whole or in pieces, under the digest of its bytes', async () => {
    expect(await store.put(blob)).toEqual({ digest, bytes: 9 });
    expect(await store.put(pieces('the ', '', 'bytes'))).toEqual({ digest, bytes: 9 });
    expect(await read()).toBe('the bytes');
    expect(await store.size(digest)).toBe(9);
    expect(await store.verify(digest)).toBe('ok');
    expect(temporaries()).toEqual([]);
    expect(await store.put(Buffer.alloc(0))).toEqual({ digest: sha256(''), bytes: 0 });
  });

  it('knows what it does not hold', async () => {
    expect(await store.size(digest)).toBeNull();
    expect(await store.verify(digest)).toBe('missing');
    await expect(store.open(digest)).rejects.toThrow(ArtifactMissing);
  });

  it('keeps a blob that is there, and writes one of another length anew', async () => {
    await store.put(blob);
    utimesSync(pathOfBlob(), 1, 1);
    await store.put(blob);
    await store.put(pieces('the bytes'));
    expect(readdirSync(join(dir, digest.slice(0, 2)))).toHaveLength(1);
    truncateSync(pathOfBlob(), 3);
    expect(await store.verify(digest)).toBe('corrupt');
    await store.put(pieces('the bytes'));
    expect(await store.verify(digest)).toBe('ok');
    truncateSync(pathOfBlob(), 3);
    await store.put(blob);
    expect(await store.verify(digest)).toBe('ok');
  });

  it('leaves nothing behind when a stream fails', async () => {
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('the ');
      throw new Error('torn');
    }
    await expect(store.put(failing())).rejects.toThrow('torn');
    expect(temporaries()).toEqual([]);
    expect(await store.size(digest)).toBeNull();
  });

  it('takes the same blob from many at once', async () => {
    const other = createArtifactStore(dir);
    const refs = await Promise.all(
      Array.from({ length: 20 }, (_, i) => (i % 2 ? store : other).put(pieces('the bytes'))),
    );
    expect(new Set(refs.map((ref) => ref.digest))).toEqual(new Set([digest]));
    expect(await read()).toBe('the bytes');
    expect(temporaries()).toEqual([]);
  });

  it('sweeps temporary files that are older than an hour', async () => {
    expect(await store.sweep(Date.now())).toBe(0);
    await store.put(blob);
    writeFileSync(join(dir, 'tmp', 'old'), 'x');
    writeFileSync(join(dir, 'tmp', 'new'), 'x');
    utimesSync(join(dir, 'tmp', 'old'), new Date(), new Date(Date.now() - 61 * 60_000));
    expect(await store.sweep(Date.now())).toBe(1);
    expect(temporaries()).toEqual(['new']);
  });
});
