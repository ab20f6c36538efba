import fc from 'fast-check';
import { sha256, type Digest, type Json } from '#truth';
import type { FileRange, Workspace, WorkspaceFile } from '../execute/workspace.js';
import { ConfigError } from '../plan/stage-config.js';
import { default_buckets } from './asset-buckets.js';
import { bucket_files_max, byAssetBucket } from './by-asset-bucket.js';
import type { PartitionSummary, ShardDraft } from './contract.js';
import { partitioners } from './partitioners.js';

/** A workspace in memory: path → text. Paths are ASCII here, so that the order of texts is bytewise. */
class FakeWorkspace implements Workspace {
  constructor(private readonly texts: Readonly<Record<string, string>>) {}
  async list(): Promise<WorkspaceFile[]> {
    const paths = Object.keys(this.texts).sort();
    return paths.map((path) => ({
      path,
      bytes: this.texts[path]!.length,
      executable: path.endsWith('.sh'),
    }));
  }
  async *read(file: { path: string; offset: number; length: number }): AsyncGenerator<Uint8Array> {
    yield Buffer.from(this.texts[file.path]!.slice(file.offset, file.offset + file.length));
  }
  async digest({ path, offset, length }: FileRange): Promise<Digest> {
    return sha256(this.texts[path]!.slice(offset, offset + length));
  }
}

interface Row {
  readonly bucket: string;
  readonly files: readonly (readonly [string, number, number])[];
}

async function run(
  texts: Readonly<Record<string, string>>,
  config: Record<string, Json> = {},
): Promise<{ drafts: ShardDraft[]; shards: Row[]; summary: PartitionSummary }> {
  const drafting = byAssetBucket.partition(byAssetBucket.parse(config), {
    workspace: new FakeWorkspace(texts),
  });
  const drafts: ShardDraft[] = [];
  for (let next = await drafting.next(); ; next = await drafting.next()) {
    if (next.done) {
      const shards = drafts.map(({ inputs }) => inputs as unknown as Row);
      return { drafts, shards, summary: next.value };
    }
    drafts.push(next.value);
  }
}

/** Shards hold 50 bytes at most. */
const small = { chunk_size_mb: 0.00005 };

const tree = fc.dictionary(
  fc
    .tuple(
      fc.constantFrom('', 'a/', 'a/b/', 'c.png/'),
      fc.string({ unit: fc.constantFrom('x', 'y', 'z'), minLength: 1, maxLength: 4 }),
      fc.constantFrom('.png', '.SVG', '.js', '.css', '.woff2', '.mp4', '.md', '', '.', '.bin', '.sh'),
    )
    .map((parts) => parts.join('')),
  fc.nat(80).map((bytes) => 'x'.repeat(bytes)),
  { maxKeys: 60 },
);

const config = fc.oneof(
  fc.constant({}),
  fc
    .subarray([...default_buckets], { minLength: 1 })
    .chain((names) => fc.shuffledSubarray(names, { minLength: names.length }))
    .map((buckets) => ({ buckets })),
  fc.constantFrom<Record<string, Json>>(
    { buckets: { pictures: ['**/*.png', '**/*.SVG'], all: ['a'] } },
    { buckets: { everything: ['**'] } },
    { buckets: { none: ['nothing/*.here'] } },
  ),
);

describe('by_asset_bucket', () => {
  it('fills defaults', () => {
    expect(byAssetBucket.parse({})).toEqual({
      root: '.',
      include: [],
      exclude: [],
      gitignore: true,
      buckets: ['images', 'scripts', 'styles', 'fonts', 'media', 'documents', 'other'],
      chunk_size_mb: 10,
    });
  });

  it.each<[Json, string]>([
    ['images', 'buckets must be a list of bucket names'],
    [7, 'buckets must be a list of bucket names'],
    [null, 'buckets must be a list of bucket names'],
    [[], 'buckets must name at least one bucket'],
    [
      ['pictures'],
      'unknown bucket "pictures". Known: images, scripts, styles, fonts, media, documents, other',
    ],
    [[['images']], 'unknown bucket ["images"]'],
    [['images', 'fonts', 'images'], 'images twice'],
    [{}, '1 to 64 buckets'],
    [Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`b${i}`, ['*']])), '1 to 64 buckets'],
    [{ '1': ['*'] }, 'bucket named "1"'],
    [{ Images: ['*'] }, 'bucket named "Images"'],
    [{ images: [] }, 'buckets.images must have at least one glob'],
    [{ images: '*.png' }, 'buckets.images must be a list'],
    [{ images: ['../*.png'] }, 'buckets.images: the glob "../*.png" leaves its root'],
  ])('refuses the buckets %j, saying why', (buckets, message) => {
    expect(() => byAssetBucket.parse({ buckets })).toThrow(ConfigError);
    expect(() => byAssetBucket.parse({ buckets })).toThrow(message);
    expect(() => byAssetBucket.parse({ buckets })).toThrow(/^buckets/);
  });

  it('has no total_files', () => {
    expect(() => byAssetBucket.parse({ total_files: 3 })).toThrow('by_asset_bucket has no "total_files"');
  });

  it('makes compact inputs, bucket after bucket, with the digest of all that a shard reads', async () => {
    const texts = {
      'a.PNG': 'aa',
      'b.js': 'bbb',
      'c.jpeg': 'cccc',
      'bin/run.sh': '#!',
      Makefile: 'all:',
      'deep/x.tar.gz': 'gz',
    };
    const { drafts, summary } = await run(texts);
    expect(drafts).toEqual([
      {
        wave: 0,
        weight: 6,
        inputs: { root: '.', bucket: 'images', files: [['a.PNG', 2, 0], ['c.jpeg', 4, 0]] },
        input_digests: [sha256('aa'), sha256('cccc')],
      },
      { wave: 0, weight: 3, inputs: { root: '.', bucket: 'scripts', files: [['b.js', 3, 0]] }, input_digests: [sha256('bbb')] },
      {
        wave: 0,
        weight: 8,
        inputs: { root: '.', bucket: 'other', files: [['Makefile', 4, 0], ['bin/run.sh', 2, 1], ['deep/x.tar.gz', 2, 0]] },
        input_digests: [sha256('all:'), sha256('#!'), sha256('gz')],
      },
    ]); // prettier-ignore
    expect(summary).toEqual({ matched: 6, taken: 6, truncated: 0 });
  });

  it('takes only the buckets that are asked for, and does not call that a truncation', async () => {
    const texts = { 'a.png': '1', 'b.css': '2', 'c.woff': '3', d: '4' };
    const { shards, summary } = await run(texts, { buckets: ['fonts', 'images'] });
    expect(shards.map(({ bucket }) => bucket)).toEqual(['fonts', 'images']);
    expect(summary).toEqual({ matched: 2, taken: 2, truncated: 0 });
    expect((await run(texts, { buckets: ['media'] })).summary).toEqual({
      matched: 0,
      taken: 0,
      truncated: 0,
    });
  });

  it('puts a file into the first bucket, by name, with a glob for it or a folder above it', async () => {
    const texts = { 'vendor/a.png': '1', 'img/b.png': '2', 'img/.hidden/c.png': '3', 'd.txt': '4' };
    const { shards } = await run(texts, { buckets: { pictures: ['**/*.png'], bought: ['./vendor/'] } });
    expect(shards.map(({ bucket, files }) => [bucket, files.map(([path]) => path)])).toEqual([
      ['bought', ['vendor/a.png']],
      ['pictures', ['img/.hidden/c.png', 'img/b.png']],
    ]);
  });

  it('puts every file that the selection matches into exactly one shard, in order, within the limits', async () => {
    await fc.assert(
      fc.asyncProperty(tree, config, async (texts, chosen) => {
        const { shards, summary } = await run(texts, { ...chosen, ...small });
        const paths = shards.flatMap(({ files }) => files.map(([path]) => path));
        expect(new Set(paths).size).toBe(paths.length);
        expect(summary).toEqual({ matched: paths.length, taken: paths.length, truncated: 0 });
        if (!('buckets' in chosen)) expect(paths.sort()).toEqual(Object.keys(texts).sort());
        for (const { bucket, files } of shards) {
          const bytes = files.reduce((sum, [, length]) => sum + length, 0);
          expect(files.length === 1 || bytes <= 50).toBe(true);
          for (const [path, length] of files) expect(length).toBe(texts[path]!.length);
          // All shards of a bucket follow each other, and their files stand in bytewise order.
          const of_bucket = shards.filter((shard) => shard.bucket === bucket);
          const first = shards.findIndex((shard) => shard.bucket === bucket);
          expect(shards.slice(first, first + of_bucket.length)).toEqual(of_bucket);
          const inside = of_bucket.flatMap((shard) => shard.files.map(([path]) => path));
          expect(inside).toEqual([...inside].sort());
        }
      }),
    );
  });

  it('gives the same shards for the same files', async () => {
    await fc.assert(
      fc.asyncProperty(tree, config, async (texts, chosen) => {
        const again = Object.fromEntries(Object.entries(texts).reverse());
        expect(await run(again, { ...chosen, ...small })).toEqual(await run(texts, { ...chosen, ...small }));
      }),
    );
  });

  it('leaves the other buckets as they were when a file comes, goes or changes, and most shards of its own', async () => {
    const texts = Object.fromEntries(
      Array.from({ length: 600 }, (_, i) => [`d${i % 7}/f${i}.${i % 2 === 0 ? 'png' : 'js'}`, 'x'.repeat(5)]),
    );
    const before = new Set((await run(texts, small)).drafts.map((draft) => JSON.stringify(draft)));
    let most = 0;
    for (let i = 0; i < 600; i += 60) {
      const edited = { ...texts, [`d${i % 7}/f${i}.png`]: 'other' };
      const without = Object.fromEntries(Object.entries(texts).filter((_, at) => at !== i));
      for (const changed of [edited, without, { ...texts, [`d${i % 7}/new${i}.png`]: 'new' }]) {
        const { drafts } = await run(changed, small);
        const anew = drafts.filter((draft) => !before.has(JSON.stringify(draft)));
        most = Math.max(most, anew.length);
        expect(anew.every(({ inputs }) => (inputs as unknown as Row).bucket === 'images')).toBe(true);
      }
    }
    expect(before.size).toBeGreaterThan(60);
    expect(most).toBeLessThanOrEqual(5);
  });

  it('subdivides by number of files too, and reads a large file whole', async () => {
    const many = Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`${i}.png`, '']));
    const { shards } = await run({ ...many, 'large.png': 'x'.repeat(2_000) }, { chunk_size_mb: 0.001 });
    expect(Math.max(...shards.map(({ files }) => files.length))).toBeLessThanOrEqual(bucket_files_max);
    expect(shards.length).toBeGreaterThanOrEqual(4);
    const large = shards.find(({ files }) => files.some(([path]) => path === 'large.png'));
    expect(large).toEqual({ root: '.', bucket: 'images', files: [['large.png', 2_000, 0]] });
  });

  it('is in the list', () => {
    expect(partitioners.get('by_asset_bucket')).toBe(byAssetBucket);
  });
});
