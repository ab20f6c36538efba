import type { Executor } from '../execute/contract.js';
import type { Partitioner } from '../partition/contract.js';
import { buildCatalogue, CatalogueError } from './catalogue.js';
import { job_kinds } from './job-kinds.js';

const partitioner = (name: string): Partitioner => ({
  name,
  parse: (config) => config,
  async *partition() {
    yield* [];
    return { matched: 0, taken: 0, truncated: 0 };
  },
});

const executor = (name: string, ...kinds: string[]): Executor => ({
  ...{ name, kinds, version: '1', cacheable: true, deterministic: true, load: 'cpu', isolation: 'thread' },
  parse: (inputs) => inputs,
  run: async () => ({ value: null }),
});

describe('buildCatalogue', () => {
  it('holds the five kinds of the contract, whatever is built', () => {
    const { kinds, partitioners, executors } = buildCatalogue([], []);
    expect([...kinds.values()]).toEqual(job_kinds);
    expect(partitioners.size + executors.size).toBe(0);
  });

  it('leaves a kind as it is when its own executor arrives', () => {
    const { kinds, executors } = buildCatalogue([], [executor('pack_backend', 'deploy.pack')]);
    expect([...kinds.values()]).toEqual(job_kinds);
    expect([...executors.keys()]).toEqual(['pack_backend']);
  });

  it('adds kinds of a loaded executor, with every partitioner and the default SLO', () => {
    const built = [partitioner('by_one'), partitioner('by_two')];
    const { kinds } = buildCatalogue(built, [executor('resize', 'images.resize')]);
    expect(kinds.get('images.resize')).toEqual({
      name: 'images.resize',
      description: 'Work of resize',
      partitioners: ['by_one', 'by_two'],
      executors: ['resize'],
      slo_ms: null,
    });
  });

  it('adds an executor to a kind behind those that it has, so that defaults stay', () => {
    const { kinds } = buildCatalogue(
      [],
      [executor('pack_other', 'deploy.pack'), executor('two', 'x', 'deploy.pack')],
    );
    expect(kinds.get('deploy.pack')?.executors).toEqual(['pack_backend', 'pack_other', 'two']);
    expect(kinds.get('deploy.pack')?.partitioners).toEqual(['by_filesize', 'by_module']);
    expect(kinds.get('x')?.executors).toEqual(['two']);
  });

  it("leaves a kind's default executor of a partitioner when another executor is added", () => {
    const { kinds } = buildCatalogue([], [executor('prime_other', 'deploy.prime')]);
    const built = job_kinds.find(({ name }) => name === 'deploy.prime')!;
    expect(kinds.get('deploy.prime')).toEqual({ ...built, executors: [...built.executors, 'prime_other'] });
  });

  it.each<[string, () => unknown]>([
    [
      'Two executors are named twin',
      () => buildCatalogue([], [executor('twin', 'a'), executor('twin', 'b')]),
    ],
    ['Two partitioners are named by_x', () => buildCatalogue([partitioner('by_x'), partitioner('by_x')], [])],
    ['Executor idle serves no kind', () => buildCatalogue([], [executor('idle')])],
  ])('refuses to start: %s', (message, build) => {
    expect(build).toThrow(CatalogueError);
    expect(build).toThrow(message);
  });
});
