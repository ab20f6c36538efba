import { copyFileSync, cpSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { crc32, deflateSync } from 'node:zlib';
import { imageSize } from 'image-size';
import type { ReportView } from '#hxo';
import { sha256 } from '#truth';
import { sample_height, sample_images, sample_width } from '../fixtures/sample-images.js';
import { System } from './support/system.js';

/**
 * A tree of assets as they come from the registry, and images of every format, indexed over HTTP. What the index says of
 * images is compared with the package image-size, which shares no code with the executor.
 */

/** Folders of node_modules: scripts, declarations, source maps, pages, styles, licences, a few images. */
const packages = ['rxjs', 'istanbul-reports', '@jest/reporters', 'pino', 'tslib', 'sprintf-js'];
const generated_pngs = 150;
const system = new System();
const by_bucket = { id: 'assets', kind: 'assets.index', config: { chunk_size_mb: 1, gitignore: false } };

interface Row {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly mime: string;
  readonly width?: number | null;
  readonly height?: number | null;
  readonly fault?: string;
}

let first: ReportView;
let index: string;
let rows: readonly Row[];

beforeAll(async () => {
  for (const name of packages) {
    cpSync(join('node_modules', name), join(system.workspace, 'packages', name), { recursive: true });
  }
  for (let i = 0; i < generated_pngs; i++) {
    write(`img/generated/${i}.png`, png(1 + ((i * 37) % 300), 1 + ((i * 101) % 200)));
  }
  for (const [i, { extension, base64 }] of sample_images.entries()) {
    write(`img/samples/${i}.${extension}`, Buffer.from(base64, 'base64'));
    write(`img/cut/${i}.${extension}`, Buffer.from(base64, 'base64').subarray(0, 20));
  }
  for (let i = 1; i <= 20; i++) {
    write(
      `img/icons/${i}.svg`,
      Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg" width="${i}" height="${2 * i}"/>`),
    );
  }
  copyFileSync(process.execPath, join(system.workspace, 'node.bin'));
  await system.start();
  first = await system.run(by_bucket);
  index = await indexOf(first);
  rows = index.trimEnd().split('\n').slice(1, -1).map((line) => JSON.parse(line) as Row); // prettier-ignore
}, 120_000);
afterAll(() => system.dispose());

function write(path: string, content: Buffer): void {
  mkdirSync(dirname(join(system.workspace, path)), { recursive: true });
  writeFileSync(join(system.workspace, path), content);
}

/** A PNG of that size, every row of it (W3C PNG, third edition). */
function png(width: number, height: number): Buffer {
  const chunk = (type: string, content: Buffer): Buffer => {
    const named = Buffer.concat([Buffer.from(type), content]);
    const [length, checksum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(content.length);
    checksum.writeUInt32BE(crc32(named));
    return Buffer.concat([length, named, checksum]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 0], 8); // 8 bits of grey.
  return Buffer.concat([
    Buffer.from('89504e470d0a1a0a', 'hex'),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(Buffer.alloc((width + 1) * height))),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

async function indexOf(report: ReportView): Promise<string> {
  const [artifact] = report.outputs[0]!.artifacts;
  expect(artifact!.name).toBe('index');
  const bytes = await buffer(await system.server.client.artifact(artifact!.digest));
  expect(sha256(bytes)).toBe(artifact!.digest);
  return bytes.toString();
}

/** Every file of the workspace, read by itself. */
function filesOnDisk(): readonly string[] {
  return readdirSync(system.workspace, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(system.workspace, join(entry.parentPath, entry.name)));
}

const onDisk = (path: string): string => join(system.workspace, path);

it('indexes a tree of more than two thousand files, a line for each', () => {
  expect(first).toMatchObject({ phase: 'succeeded', truth_certified: true, failures: [] });
  expect(first.stages[0]).toMatchObject({ partitioner: 'by_asset_bucket', executor: 'index_assets' });
  const paths = [...filesOnDisk()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  expect(paths.length).toBeGreaterThan(2_000);
  expect(first.stages[0]).toMatchObject({ matched: paths.length, taken: paths.length, truncated: 0 });
  expect(rows.map(({ path }) => path)).toEqual(paths);
  expect(index.startsWith('{"type":"hxo-asset-index/v1"}\n')).toBe(true);
});

it('knows length and SHA-256 of each, and counts them in its output', () => {
  for (const { path, bytes, sha256: digest } of rows) {
    expect([path, bytes, digest]).toEqual([
      path,
      statSync(onDisk(path)).size,
      sha256(readFileSync(onDisk(path))),
    ]);
  }
  const by_mime: Record<string, number> = {};
  for (const { mime } of rows) by_mime[mime] = (by_mime[mime] ?? 0) + 1;
  const bytes = rows.reduce((sum, row) => sum + row.bytes, 0);
  const [output] = first.outputs;
  expect(output).toMatchObject({ digest: sha256(index), value: { assets: rows.length, bytes, by_mime } });
  const types = [
    'text/javascript',
    'text/x-typescript',
    'application/json',
    'text/markdown',
    'text/html',
    'text/css',
  ];
  expect(Object.keys(by_mime)).toEqual(expect.arrayContaining([...types, 'application/x-elf']));
});

it('agrees on type and size of every whole image with an independent implementation', () => {
  /** Types of image-size, as the index has them. */
  const types: Readonly<Record<string, string>> = {
    'image/png': 'png', 'image/jpeg': 'jpg', 'image/gif': 'gif', 'image/bmp': 'bmp', 'image/tiff': 'tiff',
    'image/vnd.adobe.photoshop': 'psd', 'image/x-icon': 'ico', 'image/webp': 'webp', 'image/avif': 'avif',
    'image/heic': 'heic', 'image/jxl': 'jxl', 'image/svg+xml': 'svg',
  }; // prettier-ignore
  /** It takes the coded size of HEIC before its padding is off, and OS/2's 16-bit sides for 32-bit ones. */
  const misread = new Set(
    sample_images.flatMap(({ format, extension }, i) =>
      ['HEIC', 'OS/2 BMP'].includes(format) ? [`img/samples/${i}.${extension}`] : [],
    ),
  );
  const images = rows.filter(({ mime, path }) => mime.startsWith('image/') && !path.startsWith('img/cut/'));
  expect(images.length).toBeGreaterThan(generated_pngs + sample_images.length + 20);
  for (const { path, mime, width, height, fault } of images) {
    const other = { ...imageSize(readFileSync(onDisk(path))) };
    if (misread.has(path)) Object.assign(other, { width: sample_width, height: sample_height });
    const type = other.type!.replace('bigtiff', 'tiff').replace('jxl-stream', 'jxl');
    expect([path, types[mime], width, height, fault]).toEqual([
      path,
      type,
      other.width,
      other.height,
      undefined,
    ]);
  }
});

it('records what is wrong with images that were cut short, and fails no shard for them', () => {
  const cut = rows.filter(({ path }) => path.startsWith('img/cut/'));
  expect(cut).toHaveLength(sample_images.length);
  for (const { path, width, height, fault } of cut) {
    const sample = sample_images[Number(/(\d+)\./.exec(path)![1])]!;
    // Twenty bytes are enough for the size of these.
    const told = ['GIF', 'ICO', 'JPEG XL'].includes(sample.format);
    if (width === undefined) continue; // So little of it is no image at all.
    expect([path, fault === undefined, width !== null, height !== null]).toEqual([path, told, told, told]);
  }
  const faults = rows.filter(({ fault }) => fault !== undefined).length;
  expect(faults).toBeGreaterThan(5);
  expect(first.outputs[0]!.value).toMatchObject({ faults });
});

it('makes the same index of other shards, and reuses what it has indexed', async () => {
  const config = { chunk_size_mb: 200, gitignore: false };
  const by_size = await system.run({ ...by_bucket, partitioner: 'by_filesize', config });
  expect(by_size).toMatchObject({ phase: 'succeeded', truth_certified: true });
  expect(by_size.total_shards).not.toBe(first.total_shards);
  expect(by_size.outputs[0]!.digest).toBe(first.outputs[0]!.digest);

  write('packages/pino/new.svg', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"/>'));
  const again = await system.run(by_bucket);
  expect(again.reuse.executed).toBeLessThanOrEqual(3);
  expect(again.reuse.reused).toBeGreaterThan(again.reuse.executed);
  const lines = (await indexOf(again)).split('\n');
  expect(
    lines.filter((line) => !index.includes(`${line}\n`)).map((line) => (JSON.parse(line) as Row).path),
  ).toEqual([
    'packages/pino/new.svg',
    undefined, // The counts.
  ]);
});

it('says what to do when files are cut into ranges, and which buckets there are', async () => {
  const ranges = await system.run({
    ...by_bucket,
    partitioner: 'by_filesize',
    config: { include: ['node.bin'] },
  });
  expect(ranges.phase).toBe('failed');
  for (const failure of ranges.failures) {
    expect(failure).toMatchObject({ code: 'BAD_INPUTS', failures: 1 });
    expect(failure.message).toContain('Raise chunk_size_mb above');
  }
  const unknown = { ...by_bucket, config: { buckets: ['pictures'] } };
  expect(
    await system.ask('POST', '/api/hxo/create-and-submit', { body: { name: 'x', stages: [unknown] } }),
  ).toMatchObject({ status: 422, body: { errors: [{ field: 'stages[0].config.buckets' }] } });
});

it('runs the plan of examples/assets-index.json, which leaves files of no bucket out', async () => {
  const example = JSON.parse(readFileSync('examples/assets-index.json', 'utf8')) as { stages: object[] };
  const report = await system.run(example.stages);
  expect(report).toMatchObject({ phase: 'succeeded', truth_certified: true });
  const { taken } = report.stages[0]!;
  expect(report.stages[0]).toMatchObject({ matched: taken, truncated: 0 });
  expect(taken).toBeGreaterThan(0);
  expect(taken).toBeLessThan(rows.length);
  expect(await indexOf(report)).not.toContain('node.bin');
});

it('has a certificate that verifies from stored bytes alone, the index one of its subjects', async () => {
  const certificate = await system.server.client.certificate(first.plan_id);
  await system.server.process.stop();
  const file = join(system.folder, 'certificate.json');
  writeFileSync(file, JSON.stringify(certificate));
  const verified = await system.hxo('verify', file, '--key', system.key_path, '--json');
  expect(verified).toMatchObject({ code: 0, stderr: '' });
  expect(JSON.parse(verified.stdout)).toMatchObject({ ok: true, root: first.merkle_root });
  const { payload } = certificate as { payload: string };
  expect(Buffer.from(payload, 'base64').toString()).toContain(first.outputs[0]!.artifacts[0]!.digest);
  expect(await system.verifyStore()).toMatchObject({ code: 0, stderr: '' });
});
