import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { executors } from './executors.js';
import {
  ExecutorModuleError,
  findExecutorModules,
  loadExecutors,
  loadPartitioners,
} from './load-executors.js';

const folder = mkdtempSync(join(tmpdir(), 'hxo-executors-'));
afterAll(() => rmSync(folder, { recursive: true }));

const whole = `{ name: 'mine', version: '1', kinds: ['text.count'], cacheable: true, deterministic: true, load: 'cpu',
  isolation: 'thread', parse: (inputs) => inputs, run: async () => ({ value: 1 }) }`;

async function load(name: string, source: string) {
  writeFileSync(join(folder, name), source);
  return loadExecutors(await findExecutorModules([name], folder));
}

const built = executors.map(({ name }) => name);

it('loads an executor, or a list of them, behind those of this build', async () => {
  const names = async (name: string, source: string) => (await load(name, source)).map((each) => each.name);
  expect(await names('one.mjs', `export default ${whole};`)).toEqual([...built, 'mine']);
  expect(await names('two.mjs', `export default [${whole}, { ...${whole}, name: 'other' }];`)).toEqual([
    ...built,
    'mine',
    'other',
  ]);
});

it.each([
  ['syntax.mjs', 'export default {', 'cannot be loaded: SyntaxError: .*node --check'],
  ['throws.mjs', "throw new Error('no config');", 'cannot be loaded: Error: no config'],
  ['throws-nothing.mjs', 'throw undefined;', 'cannot be loaded: undefined'],
  ['import.mjs', "import './nowhere.mjs'; export default 1;", 'cannot be loaded: .*nowhere'],
  ['named.mjs', `export const mine = ${whole};`, 'has no default export'],
  ['null.mjs', 'export default null;', 'exports no executor: it is null'],
  ['class.mjs', 'export default class Mine {}', 'exports no executor: it is a function, not an object'],
  ['version.mjs', `export default { ...${whole}, version: 1 };`, 'executor: version must be a text'],
  ['list.mjs', `export default [${whole}, { ...${whole}, run: 1 }];`, 'at \\[1\\]: run must be a function'],
  ['many.mjs', 'export default {};', 'name must be .*kinds must be .*isolation must be .*parse must be'],
])('names the module %s and what is wrong with it', async (name, source, message) => {
  const error = await load(name, source).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(ExecutorModuleError);
  expect((error as Error).message).toMatch(new RegExp(`^HXO_EXECUTORS: ${join(folder, name)} .*${message}`));
});

describe('partitioners of a module', () => {
  const partitioner = `{ name: 'mine', parse: () => 1, async *partition() {} }`;
  const loadFrom = async (name: string, source: string) => {
    await load(name, source);
    return loadPartitioners(await findExecutorModules([name], folder));
  };

  it('are its export of that name', async () => {
    const source = `export default ${whole}; export const partitioners = [${partitioner}];`;
    expect((await loadFrom('parts.mjs', source)).map(({ name }) => name)).toEqual(['mine']);
    expect(await loadFrom('no-parts.mjs', `export default ${whole};`)).toEqual([]);
  });

  it.each([partitioner, '[{}]', '[null]', 'null', `[${partitioner}, 1]`])('are not %s', async (exported) => {
    const source = `export default ${whole}; export const partitioners = ${exported};`;
    const name = `parts-${Buffer.from(exported).toString('hex').slice(0, 80)}.mjs`;
    await expect(loadFrom(name, source)).rejects.toThrow(
      /parts-.*mjs exports as `partitioners` what is no list/,
    );
  });
});

it('refuses a glob that matches nothing', async () => {
  await expect(findExecutorModules(['none-*.mjs'], folder)).rejects.toThrow('none-*.mjs matches no file');
});
