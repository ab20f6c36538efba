import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compareByWalking, compareTrees } from './compare-trees.js';

let folder: string;
let ignored: Parameters<typeof compareTrees>[2];

async function write(path: string, content: string): Promise<void> {
  await mkdir(join(folder, path, '..'), { recursive: true });
  await writeFile(join(folder, path), content);
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hxo-compare-'));
  await write('a/.gitignore', 'node_modules\n*.log\n');
  await write('b/.gitignore', 'node_modules\n*.log\n');
  await write('a/src/x.ts', 'x');
  await write('b/src/x.ts', 'x');
  await write('a/node_modules/deep/y.js', 'not packed');
  await write('a/src/debug.log', 'not packed');
  await write('a/.git/HEAD', 'not packed');
  await write('a/.env.local', 'not packed');
  ignored = { patterns: ['.git', '.env*'], gitignore: join(folder, 'a/.gitignore') };
});
afterEach(() => rm(folder, { recursive: true }));

describe.each([
  ['diff, where it is installed', compareTrees],
  ['walking', compareByWalking],
])('by %s', (_name, compare) => {
  const differences = () => compare(join(folder, 'a'), join(folder, 'b'), ignored);

  it('finds equal trees equal, whatever is ignored', async () => {
    expect(await differences()).toBe('');
  });

  it('names changed, missing and added files', async () => {
    await write('b/src/x.ts', 'y');
    expect(await differences()).toContain('x.ts');
    await write('b/src/x.ts', 'x');
    await write('a/src/only-here', '');
    expect(await differences()).toContain('only-here');
    await write('b/src/only-here', '');
    expect(await differences()).toBe('');
    await write('b/added/file', '');
    expect(await differences()).toContain('added');
  });
});
