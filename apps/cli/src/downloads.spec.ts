import { jest } from '@jest/globals';
import * as real from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { sha256 } from '#truth';

const full = Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
let mkdtemp: (prefix: string) => Promise<string>;
jest.unstable_mockModule('node:fs/promises', () => ({
  ...real,
  mkdtemp: (prefix: string) => mkdtemp(prefix),
}));
const { Downloads } = await import('./downloads.js');

const bytes = Buffer.from('the pack');
const source = {
  async artifact(): Promise<AsyncIterable<Uint8Array>> {
    return (async function* () {
      yield bytes;
    })();
  },
};

let downloads: InstanceType<typeof Downloads>;
beforeEach(() => {
  mkdtemp = (prefix) => real.mkdtemp(prefix);
  downloads = new Downloads(source, () => {});
});
afterEach(() => downloads.close());

it('gives the bytes of an artifact, and refuses those that are not its', async () => {
  expect(await buffer(await downloads.open('slot', sha256(bytes)))).toEqual(bytes);
  await expect(downloads.open('slot', sha256('others'))).rejects.toMatchObject({ code: 'ARTIFACT_DAMAGED' });
});

it('names a full temporary folder that does not even take a folder', async () => {
  mkdtemp = () => Promise.reject(full);
  await expect(downloads.open('slot', sha256(bytes))).rejects.toMatchObject({
    code: 'DISK_FULL',
    message: expect.stringContaining('TMPDIR') as string,
  });
});
