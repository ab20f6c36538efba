import fc from 'fast-check';
import type { Json } from '#truth';
import { HxoError } from '../errors.js';
import type { Executor } from '../execute/contract.js';
import type { Partitioner } from '../partition/contract.js';
import { buildCatalogue } from './catalogue.js';
import { checkBlueprint } from './check-blueprint.js';
import { parsePlan } from './parse-plan.js';
import { ConfigError, parseFields, UnknownField } from './stage-config.js';
import { wholeNumber } from './config-fields.js';

/** Takes `{chunk: number}` only. */
const picky: Partitioner = {
  name: 'by_filesize',
  parse(config) {
    if (config.magic !== undefined) throw new UnknownField('magic', 'It has no "magic". It takes chunk.');
    if (config.whole !== undefined) throw new ConfigError('', 'A config may not be whole.');
    if (config.chunk !== undefined && typeof config.chunk !== 'number')
      throw new ConfigError('chunk', 'chunk must be a number.');
    return config;
  },
  async *partition() {
    yield* [];
    return { matched: 0, taken: 0, truncated: 0 };
  },
};

const pack: Executor = {
  ...{ name: 'pack_backend', kinds: ['deploy.pack'], version: '1', cacheable: true, deterministic: true },
  ...{ load: 'cpu', isolation: 'thread' },
  parse: (inputs) => inputs,
  run: async () => ({ value: null }),
};

/** Takes a depth of its own, which must not come with a chunk. */
const deep: Executor = {
  ...pack,
  name: 'deep',
  kinds: ['deep.pack'],
  options: { depth: wholeNumber(1, { least: 1, most: 9, meaning: 'how deep' }) },
  checkOptions({ depth }, { chunk }) {
    if (depth === 9 && chunk !== undefined) throw new ConfigError('depth', 'depth 9 takes no chunk.');
  },
};

/** One partitioner and one executor of the contract are built, as in this build. */
const catalogue = buildCatalogue([picky], [pack, deep]);
const defaults = { slo_ms: 1, shard_timeout_ms: 1, max_shards: 10 };

type Stage = Record<string, Json> & { readonly id: string };

function check(...stages: Stage[]): void {
  const kinds = stages.map((stage) => ({ kind: 'deploy.pack', ...stage }));
  checkBlueprint(parsePlan({ name: 'p', stages: kinds }, catalogue.kinds, defaults), catalogue);
}

function errorOf(...stages: Stage[]): HxoError {
  try {
    check(...stages);
  } catch (error) {
    if (error instanceof HxoError) return error;
    throw error;
  }
  throw new Error('The plan was accepted.');
}

describe('checkBlueprint', () => {
  it('accepts a plan that keeps the contract', () => {
    check(
      { id: 'a', config: { chunk: 1 } },
      { id: 'b', dependencies: ['a'] },
      { id: 'c', dependencies: ['a', 'b'] },
    );
  });

  it.each([
    ['partitioner', 'by_sql_batch', 'by_filesize, by_module (not in this build)'],
    ['partitioner', 'by_magic', 'by_filesize, by_module (not in this build)'],
    ['executor', 'sql_migrate', 'pack_backend'],
    ['executor', 'toString', 'pack_backend'],
    [
      'scheduler',
      'lifo',
      'fair_round_robin, hot_shard_splitter (not in this build), backpressure_aware (not in this build)',
    ],
  ])('refuses %s %s, naming the stage and what is allowed', (field, name, allowed) => {
    const error = errorOf({ id: 'fine' }, { id: 'bad', [field]: name });
    expect(error.code).toBe('BLUEPRINT_VIOLATION');
    expect(error.errors).toEqual([
      {
        field: `stages[1].${field}`,
        message: `Stage bad: ${field} ${name} is not allowed for deploy.pack. Allowed: ${allowed}.`,
      },
    ]);
  });

  it('divides a config between partitioner and executor', () => {
    const kind = { kind: 'deep.pack' };
    check({ id: 'a', ...kind, config: { chunk: 1, depth: 3 } }, { id: 'b', ...kind });
    const faultOf = (config: Record<string, Json>): Json =>
      errorOf({ id: 'a', ...kind, config }).errors as never;
    expect(faultOf({ depth: 10 })).toEqual([
      { field: 'stages[0].config.depth', message: 'Stage a: depth must be a whole number from 1 to 9.' },
    ]);
    expect(faultOf({ depth: 9, chunk: 1 })).toEqual([
      { field: 'stages[0].config.depth', message: 'Stage a: depth 9 takes no chunk.' },
    ]);
    expect(faultOf({ magic: 1 })).toEqual([
      {
        field: 'stages[0].config.magic',
        message: 'Stage a: It has no "magic". It takes chunk. deep takes depth.',
      },
    ]);
  });

  it.each<[string, Stage, string[]]>([
    ['migrate', { id: 'migrate', kind: 'deploy.migrate' }, ['partitioner', 'executor']],
    ['prime', { id: 'prime', kind: 'deploy.prime' }, ['partitioner', 'executor']],
    ['assets', { id: 'assets', kind: 'assets.index' }, ['partitioner', 'executor']],
    ['docs', { id: 'docs', kind: 'docs.index', partitioner: 'by_filesize' }, ['executor']],
    ['module', { id: 'module', partitioner: 'by_module' }, ['partitioner']],
    ['hot', { id: 'hot', scheduler: 'hot_shard_splitter' }, ['scheduler']],
    ['calm', { id: 'calm', scheduler: 'backpressure_aware' }, ['scheduler']],
  ])('answers NOT_IN_THIS_BUILD naming stage %s', (id, stage, fields) => {
    const error = errorOf({ id: 'fine' }, stage);
    expect(error.code).toBe('NOT_IN_THIS_BUILD');
    expect(error.errors.map(({ field }) => field)).toEqual(fields.map((field) => `stages[1].${field}`));
    for (const { message } of error.errors) expect(message).toContain(`Stage ${id}: `);
  });

  it('says what may be used in the place of what is not in this build', () => {
    expect(errorOf({ id: 's', partitioner: 'by_module' }).message).toBe(
      'Stage s: partitioner by_module (deploy.pack) is not in this build. Remove the stage, or name by_filesize instead.',
    );
  });

  it.each(['.', '..', '', 'a/b', 'a\\b', 'a b', 'ä', 'x'.repeat(65), 'a\n'])(
    'refuses stage id %j, which is no safe name of a folder',
    (id) => {
      const error = errorOf({ id: 'fine' }, { id });
      expect([error.code, error.errors[0]!.field]).toEqual(['BLUEPRINT_VIOLATION', 'stages[1].id']);
      expect(error.message).toContain('is not allowed. Use 1 to 64');
    },
  );

  it.each(['...', '.a', 'a..b', 'A-1_2.x'])('takes stage id %s', (id) => check({ id }));

  it('tells what is wrong before what is missing', () => {
    const error = errorOf({ id: 'later', partitioner: 'by_module' }, { id: 'wrong', executor: 'nope' });
    expect(error.code).toBe('BLUEPRINT_VIOLATION');
    expect(error.errors.map(({ field }) => field)).toEqual(['stages[1].executor']);
  });

  it.each<[Record<string, Json>, string]>([
    [{ chunk: 'large' }, 'stages[0].config.chunk'],
    [{ whole: true }, 'stages[0].config'],
  ])('names the field of a config that is not understood: %j', (config, field) => {
    const error = errorOf({ id: 's', config });
    expect(error.code).toBe('BLUEPRINT_VIOLATION');
    expect(error.errors).toEqual([{ field, message: expect.stringContaining('Stage s: ') as string }]);
  });

  it('names every field of a config that is wrong, and only then what does not go together', () => {
    const fields = {
      chunk: wholeNumber(1, { least: 1, meaning: 'how much' }),
      files: wholeNumber(1, { least: 1, meaning: 'how many' }),
    };
    const strict: Partitioner = {
      ...picky,
      parse: (config) => parseFields('by_filesize', fields, config),
    };
    const fieldsOf = (config: Record<string, Json>): string[] => {
      const stages = [{ id: 's', kind: 'deep.pack', config }];
      const plan = parsePlan({ name: 'p', stages }, catalogue.kinds, defaults);
      try {
        checkBlueprint(plan, buildCatalogue([strict], [pack, deep]));
        return [];
      } catch (error) {
        return (error as HxoError).errors.map(({ field }) => field.replace('stages[0].config.', ''));
      }
    };
    expect(fieldsOf({ chunk: 0, files: -1, zz: 1, yy: 2 })).toEqual(['zz', 'yy', 'chunk', 'files']);
    expect(fieldsOf({ chunk: 0, depth: 0, zz: 1 })).toEqual(['depth', 'zz', 'chunk']);
    expect(fieldsOf({ chunk: 1, depth: 9, zz: 1 })).toEqual(['zz']);
    expect(fieldsOf({ chunk: 1, depth: 9 })).toEqual(['depth']);
    const many = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`z${i}`, i]));
    expect(fieldsOf(many)).toHaveLength(100);
  });

  it('lets a partitioner that breaks on a config break loudly', () => {
    const broken: Partitioner = {
      ...picky,
      parse() {
        throw new TypeError('a bug');
      },
    };
    const plan = parsePlan(
      { name: 'p', stages: [{ id: 's', kind: 'deploy.pack' }] },
      catalogue.kinds,
      defaults,
    );
    expect(() => checkBlueprint(plan, buildCatalogue([broken], [pack]))).toThrow(TypeError);
  });

  it('names every stage id that stands twice', () => {
    const error = errorOf({ id: 'a' }, { id: 'b' }, { id: 'a' }, { id: 'a' });
    expect(error.code).toBe('BLUEPRINT_VIOLATION');
    expect(error.errors.map(({ field }) => field)).toEqual(['stages[2].id', 'stages[3].id']);
    expect(error.message).toContain('Stage id a stands twice');
  });

  it('names an unknown dependency and the stages there are', () => {
    const error = errorOf({ id: 'a' }, { id: 'b', dependencies: ['a', 'c'] });
    expect(error.errors).toEqual([
      {
        field: 'stages[1].dependencies',
        message: 'Stage b: unknown dependency c. Stages of this plan: a, b.',
      },
    ]);
  });

  it('lists some of the stages only when there are many', () => {
    const many = Array.from({ length: 30 }, (_, i) => ({ id: `s${i}` }));
    const { message } = errorOf(...many, { id: 'last', dependencies: ['c'] });
    expect(message).toMatch(/^Stage last: unknown dependency c\. Stages of this plan: s0, .*, s19, …\.$/);
  });

  it('takes no longer for many dependencies than for few, with a circle and without', () => {
    const full = Array.from({ length: 800 }, (_, i) => ({
      id: `s${i}`,
      dependencies: Array.from({ length: i }, (_, j) => `s${j}`),
    }));
    const begun = performance.now();
    check(...full);
    full[0]!.dependencies.push('s799');
    expect(errorOf(...full).message).toContain('in a circle');
    // An event loop that is held up for seconds is what this is about; the work itself takes some 100 ms.
    expect(performance.now() - begun).toBeLessThan(3_000);
  });

  it.each([1, 2, 3, 4, 7, 20])('finds a cycle of %i stages among innocent ones', (length) => {
    const ring = Array.from({ length }, (_, i) => ({
      id: `r${i}`,
      dependencies: [`r${(i + 1) % length}`, 'root'],
    }));
    const error = errorOf({ id: 'root' }, ...ring, { id: 'after', dependencies: ['r0'] });
    expect(error.code).toBe('BLUEPRINT_VIOLATION');
    const named = error.message.match(/circle: (.+)\. Remove/)![1]!.split(' → ');
    expect(new Set(named)).toEqual(new Set(ring.map(({ id }) => id)));
    expect(named.at(0)).toBe(named.at(-1));
  });

  it('accepts every acyclic plan, and refuses it once an edge closes a circle', () => {
    const graphs = fc.array(fc.array(fc.nat(20), { maxLength: 3 }), { minLength: 2, maxLength: 12 });
    fc.assert(
      fc.property(graphs, fc.nat(), (graph, choice) => {
        // Stages depend on earlier ones only: no circle.
        const stages = graph.map((edges, i) => ({
          id: `s${i}`,
          dependencies: i === 0 ? [] : [...new Set([`s${i - 1}`, ...edges.map((edge) => `s${edge % i}`)])],
        }));
        check(...stages);
        const back = choice % stages.length;
        stages[back]!.dependencies.push(`s${stages.length - 1}`);
        expect(errorOf(...stages).message).toContain('in a circle');
      }),
    );
  });
});
