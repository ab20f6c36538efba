import fc from 'fast-check';
import { extract, pack, type Header } from 'tar-stream';
import { padding, tarEnd, tarHeader, tar_block_bytes, type TarEntry } from './tar-header.js';

const name = fc
  .array(
    fc.oneof(
      fc.string({ minLength: 1, maxLength: 120 }),
      fc.constantFrom('é', '日本', 'x'.repeat(100), 'y'.repeat(99)),
    ),
    {
      minLength: 1,
      maxLength: 6,
    },
  )
  .map((names) => names.map((each) => each.replace(/[/\0]/g, '-')).join('/'))
  .filter((path) => path.isWellFormed());
const bytes = fc.oneof(fc.nat(3_000), fc.constantFrom(0, 511, 512, 8 ** 11 - 1, 8 ** 11, 2 ** 40));
const entry: fc.Arbitrary<TarEntry> = fc.record({ name, bytes, executable: fc.boolean() });

/** What tar-stream writes in front of an entry's content. */
async function byTarStream({ name, bytes: size, executable }: TarEntry): Promise<Buffer> {
  const tar = pack();
  const written: Buffer[] = [];
  tar.on('data', (piece) => written.push(piece as Buffer));
  tar.entry({ name, size, mode: executable ? 0o755 : 0o644, mtime: new Date(0), type: 'file' });
  await new Promise((resolve) => setImmediate(resolve));
  tar.destroy();
  return Buffer.concat(written);
}

it('is, byte for byte, what an independent implementation writes', async () => {
  await fc.assert(
    fc.asyncProperty(entry, async (each) => {
      expect(tarHeader(each).equals(await byTarStream(each))).toBe(true);
    }),
    { numRuns: 500 },
  );
});

it.each([
  ['x'.repeat(100), 1],
  ['x'.repeat(101), 4],
  [`${'x'.repeat(99)}/${'y'.repeat(100)}`, 1],
  [`${'x'.repeat(155)}/${'y'.repeat(100)}`, 1],
  [`${'x'.repeat(156)}/${'y'.repeat(100)}`, 4],
  ['é', 3],
])('tells the path %s, in %i blocks at most', async (path, blocks) => {
  const content = Buffer.from('content');
  const header = tarHeader({ name: path, bytes: content.length, executable: true });
  expect(header.length).toBeLessThanOrEqual(blocks * tar_block_bytes);
  const tar = extract();
  const seen: Header[] = [];
  tar.on('entry', (found, stream, next) => {
    seen.push(found);
    stream.on('end', next).resume();
  });
  tar.end(Buffer.concat([header, content, padding(content.length), tarEnd()]));
  await new Promise<void>((resolve, reject) => tar.on('finish', () => resolve()).on('error', reject));
  expect(seen).toMatchObject([
    { name: path, size: 7, mode: 0o755, uid: 0, gid: 0, type: 'file', mtime: new Date(0) },
  ]);
});

it('pads to whole blocks', () => {
  expect([0, 1, 511, 512, 513].map((length) => padding(length).length)).toEqual([0, 511, 1, 0, 511]);
});
