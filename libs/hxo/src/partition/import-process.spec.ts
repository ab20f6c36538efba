import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ImportProcess } from './import-process.js';

/** A process cannot run TypeScript: it is what was compiled. */
const main = resolve('dist/libs/hxo/src/partition/import-process.main.js');
const readers: ImportProcess[] = [];

function open(script = main): ImportProcess {
  const reader = new ImportProcess(pathToFileURL(script));
  readers.push(reader);
  return reader;
}

beforeAll(() => {
  if (!existsSync(main)) throw new Error('Run `npm run build` first: this spec starts processes from dist/.');
});
afterEach(() => readers.splice(0).forEach((reader) => reader.close()));

const a = { path: 'a.ts', text: 'import "./b.js"; import "./c.js";' };
const b = { path: 'b.cjs', text: 'require("./d")' };

it('reads the imports of sources, in their order, time and again', async () => {
  const reader = open();
  for (let i = 0; i < 12; i++) {
    expect(await reader.read([a, b, a])).toEqual([['./b.js', './c.js'], ['./d'], ['./b.js', './c.js']]);
  }
  expect(await reader.read([])).toEqual([]);
});

it.each([
  ['brackets', '('.repeat(200_000)],
  ['arrays', `x = ${'['.repeat(200_000)}${']'.repeat(200_000)}`],
  ['conditions', `x = ${'a?b:'.repeat(200_000)}c`],
  ['types', `type x = ${'Array<'.repeat(200_000)}1${'>'.repeat(200_000)}`],
])('a source of %s that overflow the native stack has no imports; those beside it do', async (_, hostile) => {
  const reader = open();
  const sources = [a, { path: 'hostile.ts', text: `import "./x"; ${hostile}` }, b];
  expect(await reader.read(sources)).toEqual([['./b.js', './c.js'], [], ['./d']]);
  expect(await reader.read([b])).toEqual([['./d']]);
});

it('takes every text for a source', async () => {
  const texts = ['\0', '\ud800', '#!', '<!--', '\uFEFF', `"${'x'.repeat(1_000_000)}`, '`${', '@', '\\u'];
  const found = await open().read(texts.map((text, i) => ({ path: `${i}.tsx`, text })));
  expect(found).toEqual(texts.map(() => []));
});

it('says so when the process cannot be started, for nothing can be told then', async () => {
  await expect(open(resolve('dist/no-such-module.js')).read([a])).rejects.toThrow('cannot be started');
});

it('rejects the call under way, and all later ones, when it is closed', async () => {
  const reader = open();
  const starting = reader.read([a]);
  reader.close();
  await expect(starting).rejects.toThrow();
  await expect(reader.read([a])).rejects.toThrow('was closed');
});
