import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { createArtifactStore, createWorkspace, type FileArtifactStore } from '#adapters/files';
import {
  FailShard,
  RetryShard,
  sha256,
  type CollectedShard,
  type Digest,
  type ExecutorContext,
  type Json,
  type Partitioner,
  type ShardDraft,
  type StageOutput,
  type Cache,
  type HttpClient,
} from '#hxo/execute';
import { byAssetBucket } from '../../../hxo/src/partition/by-asset-bucket.js';
import { byFilesize } from '../../../hxo/src/partition/by-filesize.js';
import { sample_images } from '../../../../test/fixtures/sample-images.js';
import { head_bytes } from './identify.js';
import { indexAssets } from './index-assets.js';
import { merge_ways } from './merge-runs.js';

let base: string;
let source: string;
let artifacts: FileArtifactStore;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'hxo-assets-'));
  source = join(base, 'source');
  artifacts = createArtifactStore(join(base, 'artifacts'));
  mkdirSync(source);
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

function write(path: string, content: string | Buffer): void {
  mkdirSync(dirname(join(source, path)), { recursive: true });
  writeFileSync(join(source, path), content);
}

function context(signal = new AbortController().signal): ExecutorContext {
  return {
    artifacts,
    workspace: createWorkspace({ root: source, forbidden: [] }),
    signal,
    cache: {} as Cache,
    http: {} as HttpClient,
    log: () => undefined,
  };
}

type Draft = Pick<ShardDraft, 'inputs' | 'input_digests'>;

async function draftsOf<C>(partitioner: Partitioner<C>, config: Record<string, Json> = {}): Promise<Draft[]> {
  const drafts: Draft[] = [];
  for await (const draft of partitioner.partition(partitioner.parse(config), context())) drafts.push(draft);
  return drafts;
}

async function runShard(draft: Draft, ordinal = 0): Promise<CollectedShard> {
  const inputs = indexAssets.parse(draft.inputs);
  const { digest, value } = await indexAssets.run({ ...draft, ordinal, inputs, attempt: 1 }, context());
  return { ...draft, ordinal, digest: digest!, value };
}

async function runAll(drafts: readonly Draft[]): Promise<CollectedShard[]> {
  const shards: CollectedShard[] = [];
  for (const [ordinal, draft] of drafts.entries()) shards.push(await runShard(draft, ordinal));
  return shards;
}

function collect(shards: readonly CollectedShard[]): Promise<StageOutput> {
  return indexAssets.collect!(Readable.from(shards) as AsyncIterable<CollectedShard>, context());
}

async function textOf(digest: Digest): Promise<string> {
  return Buffer.concat(await (await artifacts.open(digest)).toArray()).toString();
}

async function indexOf(shards: readonly CollectedShard[]): Promise<string> {
  return textOf((await collect(shards)).artifacts[0]!.digest);
}

/** A shard of whole files as they are. */
function draftOf(...paths_and_texts: (readonly [string, string])[]): Draft {
  return {
    inputs: { root: '.', files: paths_and_texts.map(([path, text]) => [path, Buffer.byteLength(text), 0]) },
    input_digests: paths_and_texts.map(([, text]) => sha256(text)),
  };
}

/** Every sample image, texts, and names whose order differs between UTF-8 and UTF-16. */
function writeTree(): number {
  for (const { format, extension, base64 } of sample_images)
    write(`img/${format.replace(/\W/g, '-')}.${extension}`, Buffer.from(base64, 'base64'));
  write('img/broken.png', Buffer.from(sample_images[0]!.base64, 'base64').subarray(0, 18));
  write('img/icon.svg', '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 12"/>');
  write('main.css', 'a {}');
  write('empty', '');
  write('\u{1f600}.md', 'last in UTF-8');
  write('\uffee.md', 'last in UTF-16');
  for (let i = 0; i < 60; i++) write(`js/${i % 7}/${i}.js`, `export const n = ${i};\n`.repeat(i));
  return sample_images.length + 6 + 60;
}

describe('run', () => {
  it('writes a segment of the index, an asset a line, and counts', async () => {
    write('main.css', 'a {}');
    write('b.gif', Buffer.from(sample_images.find(({ format }) => format === 'GIF')!.base64, 'base64'));
    write('a.png', Buffer.from(sample_images[0]!.base64, 'base64').subarray(0, 18));
    const [draft] = await draftsOf(byFilesize);
    const { digest, value } = await runShard(draft!);
    const text = await textOf(digest);
    const [png, gif, css] = draft!.input_digests as [Digest, Digest, Digest];
    expect(text).toBe(
      `{"bytes":18,"fault":"truncated","height":null,"mime":"image/png","path":"a.png","sha256":"${png}","width":null}\n` +
        `{"bytes":46,"height":5,"mime":"image/gif","path":"b.gif","sha256":"${gif}","width":7}\n` +
        `{"bytes":4,"mime":"text/css","path":"main.css","sha256":"${css}"}\n`,
    );
    const segment = { segment: digest, segment_bytes: text.length };
    expect(value).toEqual({ assets: 3, bytes: 68, images: 2, faults: 1, ...segment });
    expect(digest).toBe(sha256(text));
  });

  it('orders a segment by the bytes of paths, whatever the order of its inputs', async () => {
    for (const path of ['b', 'a']) write(path, path);
    const one = await runShard(draftOf(['a', 'a'], ['b', 'b']));
    const other = await runShard(draftOf(['b', 'b'], ['a', 'a']));
    expect(other.digest).toBe(one.digest);
  });

  it('finds sizes that stand far into a file', async () => {
    const sample = (format: string): Buffer =>
      Buffer.from(sample_images.find((image) => image.format === format)!.base64, 'base64');
    const jpeg = sample('JPEG');
    const segment = Buffer.concat([Buffer.from('ffe2ffff', 'hex'), Buffer.alloc(0xfffd)]);
    const profile = Buffer.concat(Array<Buffer>(9).fill(segment));
    expect(profile.length).toBeGreaterThan(head_bytes);
    write('profile.jpg', Buffer.concat([jpeg.subarray(0, 2), profile, jpeg.subarray(2)]));
    // Only the directory of a TIFF matters, which most encoders write behind the pixels.
    const directory = Buffer.from('0200000104000100000007000000010104000100000005000000', 'hex');
    for (const before of [head_bytes - 20, head_bytes - 3, 3_000_001]) {
      const tiff = Buffer.concat([
        Buffer.from('49492a0000000000', 'hex'),
        Buffer.alloc(before - 8),
        directory,
      ]);
      tiff.writeUInt32LE(before, 4);
      write(`${before}.tiff`, tiff);
    }
    const deeper = Array<Buffer>(18).fill(segment);
    write('too-deep.jpg', Buffer.concat([jpeg.subarray(0, 2), ...deeper, jpeg.subarray(2)]));
    const lines = (await textOf((await runShard((await draftsOf(byFilesize))[0]!)).digest))
      .trim()
      .split('\n');
    const sizes = lines.map((line) => {
      const { path, width, height, fault } = JSON.parse(line) as Record<string, Json>;
      return [path, width, height, fault];
    });
    expect(sizes).toEqual([
      ['3000001.tiff', 7, 5, undefined],
      ['524268.tiff', 7, 5, undefined],
      ['524285.tiff', 7, 5, undefined],
      ['profile.jpg', 7, 5, undefined],
      ['too-deep.jpg', null, null, 'out_of_reach'],
    ]);
  });

  it('fails with FILE_CHANGED when a file has other bytes, another length, or is gone', async () => {
    write('a.css', 'a {}');
    const [draft] = await draftsOf(byAssetBucket);
    write('a.css', 'b {}');
    await expect(runShard(draft!)).rejects.toMatchObject({ code: 'FILE_CHANGED', verdict: 'fail' });
    appendFileSync(join(source, 'a.css'), ' ');
    await expect(runShard(draft!)).rejects.toMatchObject({ code: 'FILE_CHANGED', verdict: 'fail' });
    rmSync(join(source, 'a.css'));
    await expect(runShard(draft!)).rejects.toMatchObject({ code: 'FILE_CHANGED', verdict: 'fail' });
  });

  it('minds its signal', async () => {
    write('a', 'a');
    const [draft] = await draftsOf(byFilesize);
    const inputs = indexAssets.parse(draft!.inputs);
    const over = AbortSignal.abort(new Error('over'));
    await expect(
      indexAssets.run({ ...draft!, ordinal: 0, inputs, attempt: 1 }, context(over)),
    ).rejects.toThrow('over');
  });

  it.each<[Json, string]>([
    [
      { root: '.', part: ['big.mp4', 30_000_000, 0, 0, 10_000_000] },
      'Raise chunk_size_mb above 30000000 bytes',
    ],
    [{ root: '.' }, 'index_assets indexes {root, files'],
    [{ files: [] }, 'index_assets indexes {root, files'],
    [null, 'index_assets indexes {root, files'],
    [{ root: '.', files: [['', 1, 0]] }, 'index_assets indexes {root, files'],
    [{ root: '.', files: [['a', -1, 0]] }, 'index_assets indexes {root, files'],
    [{ root: '.', files: ['a'] }, 'index_assets indexes {root, files'],
  ])('refuses the inputs %j', (inputs, message) => {
    expect(() => indexAssets.parse(inputs)).toThrow(FailShard);
    expect(() => indexAssets.parse(inputs)).toThrow(message);
  });

  it('refuses a shard whose digests are not those of its files', async () => {
    await expect(runShard({ ...draftOf(['a', 'a']), input_digests: [] })).rejects.toMatchObject({
      code: 'BAD_INPUTS',
    });
  });
});

describe('collect', () => {
  it('merges one index in bytewise order, with header and counts', async () => {
    const assets = writeTree();
    const shards = await runAll(await draftsOf(byAssetBucket));
    const output = await collect(shards);
    const index = await textOf(output.digest);
    const lines = index.trimEnd().split('\n');
    expect(lines[0]).toBe('{"type":"hxo-asset-index/v1"}');
    const rows = lines
      .slice(1, -1)
      .map((line) => JSON.parse(line) as { path: string; bytes: number; mime: string });
    const bytes = rows.reduce((sum, row) => sum + row.bytes, 0);
    expect(lines.at(-1)).toBe(`{"assets":${assets},"bytes":${bytes}}`);
    const paths = rows.map(({ path }) => path);
    expect(paths).toEqual([...paths].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
    expect(paths.slice(-2)).toEqual(['\uffee.md', '\u{1f600}.md']);
    expect(new Set(paths).size).toBe(assets);
    const by_mime: Record<string, number> = {};
    for (const { mime } of rows) by_mime[mime] = (by_mime[mime] ?? 0) + 1;
    expect(output).toEqual({
      digest: sha256(index),
      value: { assets, bytes, images: sample_images.length + 2, faults: 1, by_mime },
      artifacts: [{ name: 'index', digest: sha256(index), bytes: Buffer.byteLength(index) }],
    });
    expect(by_mime).toMatchObject({ 'image/tiff': 3, 'text/javascript': 60, 'image/svg+xml': 1 });
  });

  it('gives the same index for both partitioners, any size of shards, any buckets and any order', async () => {
    writeTree();
    const expected = await indexOf(await runAll(await draftsOf(byFilesize)));
    for (const chunk_size_mb of [0.0006, 0.002, 0.01]) {
      const config = { chunk_size_mb, buckets: { all: ['**'] } };
      expect(await indexOf(await runAll(await draftsOf(byAssetBucket, { chunk_size_mb })))).toBe(expected);
      expect(await indexOf(await runAll(await draftsOf(byAssetBucket, config)))).toBe(expected);
    }
    const shards = await runAll(await draftsOf(byAssetBucket, { chunk_size_mb: 0.0006 }));
    expect(shards.length).toBeGreaterThan(20);
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray(shards, { minLength: shards.length }), async (shuffled) =>
        expect(await indexOf(shuffled)).toBe(expected),
      ),
      { numRuns: 5 },
    );
  });

  it('merges more runs than it opens at once', async () => {
    const paths = Array.from({ length: merge_ways + 10 }, (_, i) => `f${String(i).padStart(4, '0')}`);
    for (const path of paths) write(path, path);
    // Backwards, every shard begins a run of its own.
    const shards = await runAll(paths.map((path) => draftOf([path, path])).reverse());
    const lines = (await indexOf(shards)).trimEnd().split('\n').slice(1, -1);
    expect(lines.map((line) => (JSON.parse(line) as { path: string }).path)).toEqual(paths);
  });

  it('makes an index of nothing', async () => {
    const output = await collect([]);
    expect(output.value).toEqual({ assets: 0, bytes: 0, images: 0, faults: 0, by_mime: {} });
    expect(await textOf(output.digest)).toBe('{"type":"hxo-asset-index/v1"}\n{"assets":0,"bytes":0}\n');
  });

  it('refuses two shards with the same file', async () => {
    write('a', 'a');
    write('b', 'b');
    const shards = await runAll([draftOf(['a', 'a'], ['b', 'b']), draftOf(['b', 'b'])]);
    await expect(collect(shards)).rejects.toMatchObject({ code: 'DUPLICATE_ASSET', verdict: 'fail' });
    await expect(collect(shards)).rejects.toThrow('"b"');
  });

  it('asks to be run again when a segment is damaged', async () => {
    write('a', 'a');
    const [shard] = await runAll([draftOf(['a', 'a'])]);
    const file = join(base, 'artifacts', shard!.digest.slice(0, 2), shard!.digest.slice(2));
    const text = await textOf(shard!.digest);
    writeFileSync(file, text.replace('"bytes":1', '"bytes":2'));
    const failing = collect([shard!]);
    await expect(failing).rejects.toThrow(RetryShard);
    await expect(failing).rejects.toMatchObject({ code: 'ARTIFACT_CORRUPT' });
    writeFileSync(file, text.slice(0, -5));
    await expect(collect([shard!])).rejects.toMatchObject({ code: 'ARTIFACT_CORRUPT' });
  });
});
