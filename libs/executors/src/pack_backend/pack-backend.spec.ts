import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { gunzipSync, gzipSync } from 'node:zlib';
import { pack as tarPack } from 'tar-stream';
import { createArtifactStore, createWorkspace, type FileArtifactStore } from '#adapters/files';
import {
  FailShard,
  parseDigest,
  sha256,
  type Cache,
  type CollectedShard,
  type Digest,
  type ExecutorContext,
  type HttpClient,
  type Json,
  type StageOutput,
} from '#hxo/execute';
import { byFilesize } from '../../../hxo/src/partition/by-filesize.js';
import { packBackend } from './pack-backend.js';
import { UnpackError, unpack, type UnpackOptions, type Unpacked } from './unpack.js';

let base: string;
let source: string;
let artifacts: FileArtifactStore;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'hxo-pack-'));
  source = join(base, 'source');
  artifacts = createArtifactStore(join(base, 'artifacts'));
  mkdirSync(source);
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

function write(path: string, content: string | Buffer, mode = 0o644): void {
  mkdirSync(dirname(join(source, path)), { recursive: true });
  writeFileSync(join(source, path), content);
  chmodSync(join(source, path), mode);
}

/** A tree with whatever is awkward in a tar. */
function writeTree(): void {
  write('a.txt', 'alpha');
  write('empty', '');
  write('bin/run.sh', '#!/bin/sh\n', 0o755);
  write('back\\slash\\/..\\up.txt', 'a backslash is a letter');
  write('größe/日本語/\u{1f600}.md', 'unicode');
  write(`${'deep/'.repeat(30)}${'long-'.repeat(30)}name.ts`, 'a path of 300 bytes');
  write(`${'x'.repeat(99)}/${'y'.repeat(100)}`, 'a path that ustar splits');
  write('large.bin', Buffer.from(Array.from({ length: 25_000 }, (_, i) => (i * 7919) >> 5)), 0o755);
  for (let i = 0; i < 40; i++) write(`many/${i}/file.ts`, `export const value = ${i};\n`.repeat(i * 3));
}

function context(signal = new AbortController().signal): ExecutorContext {
  return {
    artifacts,
    workspace: createWorkspace({ root: source, forbidden: [] }),
    cache: {} as Cache,
    http: {} as HttpClient,
    signal,
    log: () => undefined,
  };
}

async function partition(
  config: Record<string, Json>,
): Promise<{ inputs: Json; input_digests: readonly Digest[] }[]> {
  const drafts = [];
  for await (const draft of byFilesize.partition(byFilesize.parse(config), context())) drafts.push(draft);
  return drafts;
}

async function runShard(
  draft: { inputs: Json; input_digests: readonly Digest[] },
  ordinal: number,
): Promise<CollectedShard> {
  const inputs = packBackend.parse(draft.inputs);
  const { digest, value } = await packBackend.run({ ...draft, ordinal, inputs, attempt: 1 }, context());
  return { ...draft, ordinal, digest: digest!, value };
}

async function runAll(config: Record<string, Json> = { chunk_size_mb: 0.01 }): Promise<CollectedShard[]> {
  const shards = [];
  for (const [ordinal, draft] of (await partition(config)).entries())
    shards.push(await runShard(draft, ordinal));
  return shards;
}

async function collect(shards: readonly CollectedShard[]): Promise<StageOutput> {
  return packBackend.collect!(Readable.from(shards) as AsyncIterable<CollectedShard>, context());
}

async function textOf(output: StageOutput, name: string): Promise<string> {
  const { digest } = output.artifacts.find((artifact) => artifact.name === name)!;
  return Buffer.concat(await (await artifacts.open(digest)).toArray()).toString();
}

async function restore(output: StageOutput, changes: Partial<UnpackOptions> = {}): Promise<Unpacked> {
  const [manifest, packs] = [await textOf(output, 'manifest'), await textOf(output, 'packs')];
  return unpack({
    manifest: bytesOf(manifest),
    packs: bytesOf(packs),
    open: (digest) => artifacts.open(digest),
    into: join(base, 'restored'),
    ...changes,
  });
}

function bytesOf(text: string): Readable {
  return Readable.from([Buffer.from(text)]);
}

function pathOfBlob(shard: CollectedShard): string {
  const { blob } = shard.value as { blob: string };
  return join(base, 'artifacts', blob.slice(0, 2), blob.slice(2));
}

describe('pack_backend, from files to files', () => {
  it('restores a tree as it was, and says how much', async () => {
    writeTree();
    const shards = await runAll();
    const output = await collect(shards);
    const seen: string[] = [];
    const restored = await restore(output, { onFile: (path) => seen.push(path) });
    execFileSync('diff', ['-r', source, join(base, 'restored')]);
    expect(statSync(join(base, 'restored/bin/run.sh')).mode & 0o777).toBe(0o755);
    expect(statSync(join(base, 'restored/large.bin')).mode & 0o777).toBe(0o755);
    expect(statSync(join(base, 'restored/a.txt')).mode & 0o777).toBe(0o644);
    expect(seen.filter((path) => path === 'large.bin')).toHaveLength(3);
    expect(restored.files).toBe(new Set(seen).size);
    expect(output.value).toEqual({ ...restored, packs: shards.length });
    expect(output.digest).toBe(output.artifacts[0]!.digest);
  });

  it('gives the same digests and the same blobs again, and by other modification times', async () => {
    writeTree();
    const shards = await runAll();
    const output = await collect(shards);
    execFileSync('touch', ['-d', '2001-02-03', join(source, 'a.txt')]);
    expect(await runAll()).toEqual(shards);
    expect(await collect(shards)).toEqual(output);
  });

  it('makes tars that other tools read', async () => {
    writeTree();
    const [shard] = await runAll({ exclude: ['large.bin'] });
    mkdirSync(join(base, 'by-tar'));
    execFileSync('tar', ['-xzf', pathOfBlob(shard!), '-C', join(base, 'by-tar')]);
    rmSync(join(source, 'large.bin'));
    execFileSync('diff', ['-r', source, join(base, 'by-tar')]);
    const blob = readFileSync(pathOfBlob(shard!));
    expect(blob.subarray(0, 10).toString('hex')).toBe('1f8b08000000000000ff');
    expect(sha256(gunzipSync(blob))).toBe(shard!.digest);
    expect(shard!.value).toMatchObject({
      blob_bytes: blob.length,
      tar_bytes: gunzipSync(blob).length,
      codec: 'gzip',
    });
  });

  it('packs a range as an entry named after its offset', async () => {
    write('large.bin', 'x'.repeat(2500));
    const shards = await runAll({ chunk_size_mb: 0.001 });
    const names = shards.map((shard) =>
      execFileSync('tar', ['-tzf', pathOfBlob(shard)])
        .toString()
        .trim(),
    );
    expect(names).toEqual(['large.bin.hxo-part-0', 'large.bin.hxo-part-1000', 'large.bin.hxo-part-2000']);
  });

  it('packs nothing into a valid manifest', async () => {
    const output = await collect(await runAll());
    expect(await textOf(output, 'manifest')).toBe(
      '{"type":"hxo-pack-manifest/v1"}\n{"bytes":0,"files":0,"packs":0}\n',
    );
    expect(await restore(output)).toEqual({ files: 0, bytes: 0 });
  });

  it('fails a shard whose file changed since it was partitioned, whatever changed', async () => {
    write('same-size', 'before');
    const [draft] = await partition({});
    write('same-size', 'behind');
    await expect(runShard(draft!, 0)).rejects.toMatchObject({ code: 'FILE_CHANGED', verdict: 'fail' });
    appendFileSync(join(source, 'same-size'), '!');
    await expect(runShard(draft!, 0)).rejects.toThrow(FailShard);
    rmSync(join(source, 'same-size'));
    await expect(runShard(draft!, 0)).rejects.toThrow(/same-size.*Submit the plan again/);
  });

  it('stops when it is told to, and leaves no temporary file', async () => {
    writeTree();
    const [draft] = await partition({});
    const inputs = packBackend.parse(draft!.inputs);
    const run = packBackend.run({ ...draft!, ordinal: 0, inputs, attempt: 1 }, context(AbortSignal.abort()));
    await expect(run).rejects.toThrow(/abort/i);
    expect(execFileSync('find', [join(base, 'artifacts'), '-type', 'f']).toString()).toBe('');
  });

  it.each<[Json]>([
    [null],
    [{ root: '.' }],
    [{ root: '.', files: [['a', 1]] }],
    [{ root: '.', files: [['', 1, 0]] }],
    [{ root: '.', files: [['a', -1, 0]] }],
    [{ root: '.', part: ['a', 10, 0, 5, 6] }],
    [{ files: [] }],
  ])('refuses the inputs %j', (inputs) => {
    expect(() => packBackend.parse(inputs)).toThrow(FailShard);
  });

  it('leaves no temporary file when collecting fails', async () => {
    write('a', 'a');
    const shards = await runAll();
    const torn = async function* (): AsyncGenerator<CollectedShard> {
      yield* shards;
      throw new Error('torn');
    };
    await expect(packBackend.collect!(torn(), context())).rejects.toThrow('torn');
    expect(execFileSync('find', [join(base, 'artifacts/tmp'), '-type', 'f']).toString()).toBe('');
  });
});

describe('unpack', () => {
  let shards: CollectedShard[];
  let output: StageOutput;

  beforeEach(async () => {
    write('a.txt', 'alpha');
    write('dir/b.txt', 'beta');
    write('large.bin', 'x'.repeat(2500));
    shards = await runAll({ chunk_size_mb: 0.001 });
    output = await collect(shards);
  });

  it('names the pack of every blob that any byte was flipped in', async () => {
    const path = pathOfBlob(shards[0]!);
    const blob = readFileSync(path);
    for (let at = 0; at < blob.length; at += 7) {
      const flipped = Buffer.from(blob);
      flipped[at]! ^= 1;
      writeFileSync(path, flipped);
      await expect(restore(output, { into: join(base, `try-${at}`) })).rejects.toThrow(
        `pack ${shards[0]!.digest} is damaged`,
      );
    }
  });

  it('names file and pack when the manifest tells another digest, size or place', async () => {
    const manifest = await textOf(output, 'manifest');
    const alpha = sha256('alpha');
    const tampered = [
      [manifest.replace(alpha, sha256('other')), /"a\.txt" in pack [0-9a-f]{64} does not match/],
      [manifest.replace('["a.txt",5,', '["a.txt",6,'), /holds "a\.txt"/],
      [manifest.replace('["a.txt",5,', '["c.txt",5,'), /holds "a\.txt"/],
      [
        manifest.replace('"large.bin",2500,0,1000,', '"large.bin",2500,0,999,'),
        /"large\.bin" in pack .* lacks a part|holds "large/,
      ],
      [manifest.replace(shards[0]!.digest, sha256('tar')), /has not pack/],
      [manifest.split('\n').slice(0, -2).join('\n') + '\n', /cut short/],
      [manifest.slice(0, -5), /middle of a line/],
      [manifest.replace('"packs":', '"x":'), /none of its own/],
      [manifest.replace('"files":3', '"files":4'), /counts other files/],
      [manifest.replace('/v1', '/v2'), /does not begin/],
    ] as const;
    for (const [i, [text, message]] of tampered.entries()) {
      expect(text).not.toBe(manifest);
      await expect(
        restore(output, { manifest: bytesOf(text), into: join(base, `try-${i}`) }),
      ).rejects.toThrow(message);
    }
  });

  it('refuses packs that lack or add one, and parts that lack the last', async () => {
    const packs = await textOf(output, 'packs');
    const lines = packs.trimEnd().split('\n');
    const short = bytesOf(lines.slice(0, -1).join('\n') + '\n');
    await expect(restore(output, { packs: short, into: join(base, 'short') })).rejects.toThrow(
      'has not pack',
    );
    const long = bytesOf(packs + lines.at(-1)! + '\n');
    await expect(restore(output, { packs: long, into: join(base, 'long') })).rejects.toThrow('more packs');
    const cut = await collect(shards.slice(0, -1));
    await expect(restore(cut, { into: join(base, 'cut') })).rejects.toThrow('"large.bin" in pack');
  });

  it('writes only into an empty folder, and no more than it is allowed', async () => {
    await restore(output);
    await expect(restore(output)).rejects.toThrow('not empty');
    await expect(restore(output, { into: join(base, 'x'), limits: { files: 2 } })).rejects.toThrow('limits');
    await expect(restore(output, { into: join(base, 'y'), limits: { bytes: 100 } })).rejects.toThrow(
      'limits',
    );
  });

  /** A stage whose one pack is made by hand, with digests that are all right. */
  async function forged(
    named: string[],
    packed: { name: string; type?: 'symlink' | 'directory' }[],
  ): Promise<Partial<UnpackOptions>> {
    const tar = tarPack();
    for (const { name, type } of packed) {
      if (type === undefined) tar.entry({ name }, 'x');
      else tar.entry({ name, type, linkname: type === 'symlink' ? '/etc/passwd' : undefined });
    }
    tar.finalize();
    const bytes = Buffer.concat(await Readable.from(tar).toArray());
    const blob = await artifacts.put(gzipSync(bytes));
    const files = named.map((path) => [path, 1, 0, sha256('x')]);
    const line = JSON.stringify({ files, tar: sha256(bytes) });
    const end = JSON.stringify({ bytes: named.length, files: named.length, packs: 1 });
    const packs = { blob: blob.digest, bytes: blob.bytes, codec: 'gzip', tar: sha256(bytes) };
    return {
      manifest: bytesOf(`{"type":"hxo-pack-manifest/v1"}\n${line}\n${end}\n`),
      packs: bytesOf(`{"type":"hxo-packs/v1"}\n${JSON.stringify(packs)}\n`),
      into: join(base, 'prison', 'cell'),
    };
  }

  it.each(['../escaped', '/escaped', 'a/../../escaped', 'a//b', './a', 'nul\0', '..'])(
    'refuses the hostile name %j',
    async (name) => {
      await expect(restore(output, await forged([name], [{ name }]))).rejects.toThrow(UnpackError);
      expect(execFileSync('find', [join(base, 'prison'), '-type', 'f']).toString()).toBe('');
    },
  );

  it('restores the forged pack when nothing is wrong with it', async () => {
    expect(await restore(output, await forged(['a', 'b'], [{ name: 'a' }, { name: 'b' }]))).toEqual({
      files: 2,
      bytes: 2,
    });
  });

  it.each<[string, string[], { name: string; type?: 'symlink' | 'directory' }[]]>([
    ['an entry that is not in the manifest', ['a'], [{ name: 'a' }, { name: 'b' }]],
    ['an entry too few', ['a', 'b'], [{ name: 'a' }]],
    ['a symbolic link', ['a'], [{ name: 'a', type: 'symlink' }]],
    ['a folder', ['a'], [{ name: 'a', type: 'directory' }]],
    ['a file twice', ['a', 'a'], [{ name: 'a' }, { name: 'a' }]],
    ['a file that is also a folder', ['a', 'a/b'], [{ name: 'a' }, { name: 'a/b' }]],
  ])('refuses %s', async (_, named, packed) => {
    await expect(restore(output, await forged(named, packed))).rejects.toThrow(UnpackError);
  });

  it('refuses a tar that swells beyond what the manifest names', async () => {
    const bomb = await artifacts.put(gzipSync(Buffer.alloc(50_000_000)));
    const tar = parseDigest(sha256('tar'));
    const options = await forged(['a'], [{ name: 'a' }]);
    const line = JSON.stringify({ files: [['a', 1, 0, sha256('x')]], tar });
    await expect(
      restore(output, {
        ...options,
        manifest: bytesOf(`{"type":"hxo-pack-manifest/v1"}\n${line}\n`),
        packs: bytesOf(
          `{"type":"hxo-packs/v1"}\n${JSON.stringify({ blob: bomb.digest, bytes: bomb.bytes, codec: 'gzip', tar })}\n`,
        ),
      }),
    ).rejects.toThrow('larger than');
  });
});
