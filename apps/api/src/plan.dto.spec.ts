import { HxoError, type FieldError } from '#hxo';
import { PlanDto, SubmitDto } from './plan.dto.js';
import { EventsQueryDto, PageQueryDto, PlansQueryDto, ShardsQueryDto, withLimit } from './query.dto.js';
import { Validated } from './validated.pipe.js';

const minimal = { name: 'my_plan', stages: [{ id: 'stage_1', kind: 'deploy.pack' }] };
const full = {
  name: 'full_deploy',
  stages: [
    {
      id: 'pack_backend',
      kind: 'deploy.pack',
      slo_ms: 120000,
      partitioner: 'by_filesize',
      executor: 'pack_backend',
      scheduler: 'fair_round_robin',
      config: { total_files: 100, chunk_size_mb: 10, nested: { list: [1, null, 'x'] } },
      dependencies: ['other.stage-1'],
      failure_policy: 'halt_plan',
      shard_timeout_ms: 0,
      retry: { max_failures: 3, backoff_ms: 0, backoff_max_ms: 1000 },
    },
  ],
  constraints: { max_shards: 500000, timebox_ms: 600000 },
};

async function errorsOf(pipe: Validated<object>, value: unknown): Promise<readonly FieldError[]> {
  try {
    await pipe.transform(value);
    return [];
  } catch (error) {
    if (error instanceof HxoError) return error.errors;
    throw error;
  }
}

async function fieldsOf(pipe: Validated<object>, value: unknown): Promise<string[]> {
  return (await errorsOf(pipe, value)).map(({ field }) => field);
}

describe('PlanDto', () => {
  const plan = new Validated(PlanDto, 'INVALID_PLAN');
  const stage = (change: object) => ({ ...minimal, stages: [{ ...minimal.stages[0], ...change }] });

  it('takes the plans of the contract, and hands them on as they were sent', async () => {
    expect(await plan.transform(minimal)).toBe(minimal);
    expect(await plan.transform(full)).toBe(full);
  });

  it.each<[string, unknown, string[]]>([
    ['no object', [], ['']],
    ['null', null, ['']],
    ['an empty object', {}, ['name', 'stages']],
    ['an unknown field', { ...minimal, priority: 1 }, ['priority']],
    ['an unknown field of a stage', stage({ kinds: 'x' }), ['stages[0].kinds']],
    ['an unknown field of retry', stage({ retry: { max: 1 } }), ['stages[0].retry.max']],
    ['an unknown constraint', { ...minimal, constraints: { max: 1 } }, ['constraints.max']],
    ['an empty name', { ...minimal, name: '' }, ['name']],
    ['a long name', { ...minimal, name: 'n'.repeat(201) }, ['name']],
    ['a number for a name', { ...minimal, name: 5 }, ['name']],
    ['no stages', { ...minimal, stages: [] }, ['stages']],
    ['too many stages', { ...minimal, stages: Array(1001).fill(minimal.stages[0]) }, ['stages']],
    ['stages that are no list', { ...minimal, stages: { id: 'a', kind: 'b' } }, ['stages']],
    ['null for a stage', { ...minimal, stages: [null] }, ['stages']],
    ['a list for a stage', { ...minimal, stages: [[minimal.stages[0]]] }, ['stages']],
    ['a bad stage id', stage({ id: 'a b' }), ['stages[0].id']],
    ['a long stage id', stage({ id: 'a'.repeat(65) }), ['stages[0].id']],
    ['no kind', { ...minimal, stages: [{ id: 'a' }] }, ['stages[0].kind']],
    ['zero for an SLO', stage({ slo_ms: 0 }), ['stages[0].slo_ms']],
    ['a fraction', stage({ slo_ms: 1.5 }), ['stages[0].slo_ms']],
    ['a number in quotes', stage({ slo_ms: '100' }), ['stages[0].slo_ms']],
    ['more than a timer holds', stage({ slo_ms: 2 ** 31 }), ['stages[0].slo_ms']],
    ['an unsafe integer', { ...minimal, constraints: { max_shards: 2 ** 53 } }, ['constraints.max_shards']],
    ['null for an optional field', stage({ executor: null }), ['stages[0].executor']],
    ['a list for a config', stage({ config: [] }), ['stages[0].config']],
    ['an unknown policy', stage({ failure_policy: 'ignore' }), ['stages[0].failure_policy']],
    ['dependencies that are no ids', stage({ dependencies: ['a', 5] }), ['stages[0].dependencies']],
    ['null for constraints', { ...minimal, constraints: null }, ['constraints']],
    ['two faults', stage({ id: '', slo_ms: -1 }), ['stages[0].id', 'stages[0].slo_ms']],
  ])('refuses %s, naming the field', async (_, value, fields) => {
    expect(await fieldsOf(plan, value)).toEqual(fields);
  });

  it.each<[unknown, string, string]>([
    [{ ...minimal, name: 1 }, 'name', 'must be a text'],
    [{ ...minimal, name: null }, 'name', 'must be a text'],
    [{ stages: minimal.stages }, 'name', 'is missing'],
    [{ ...minimal, name: '' }, 'name', 'must be longer than or equal to 1 characters'],
    [{ name: 'x' }, 'stages', 'is missing'],
    [{ ...minimal, stages: { 0: 1 } }, 'stages', 'must be a list'],
    [{ ...minimal, stages: [] }, 'stages', 'must contain at least 1 elements'],
    [{ ...minimal, stages: [1] }, 'stages', 'must be a list of objects'],
    [stage({ id: 1 }), 'stages[0].id', 'must be a text'],
    [stage({ id: 'a b' }), 'stages[0].id', 'must be 1 to 64 letters, digits, "_", "." or "-"'],
    [stage({ kind: null }), 'stages[0].kind', 'must be a text'],
    [stage({ kind: undefined }), 'stages[0].kind', 'is missing'],
    [stage({ dependencies: 'a' }), 'stages[0].dependencies', 'must be a list'],
    [stage({ dependencies: [1] }), 'stages[0].dependencies', 'must be a list of stage ids'],
    [stage({ slo_ms: '1' }), 'stages[0].slo_ms', 'must be an integer number'],
    [stage({ retry: { max_failures: '1' } }), 'stages[0].retry.max_failures', 'must be an integer number'],
    [stage({ retry: [] }), 'stages[0].retry', 'must be an object'],
    [{ ...minimal, constraints: { max_shards: {} } }, 'constraints.max_shards', 'must be an integer number'],
  ])('says of %j what is wrong with %s: its type before all else', async (value, field, message) => {
    expect(await errorsOf(plan, value)).toEqual([{ field, message }]);
  });

  it('tells a hundred faults at most', async () => {
    const stages = Array.from({ length: 300 }, () => ({ id: '', kind: '' }));
    expect(await fieldsOf(plan, { name: 'x', stages })).toHaveLength(100);
  });
});

describe('SubmitDto', () => {
  it('is a plan id and nothing else', async () => {
    const submit = new Validated(SubmitDto, 'INVALID_PLAN');
    expect(await submit.transform({ plan_id: 'abc-123' })).toEqual({ plan_id: 'abc-123' });
    expect(await errorsOf(submit, { plan_id: 5, force: true })).toEqual([
      { field: 'force', message: 'is not known' },
      { field: 'plan_id', message: 'must be a text' },
    ]);
  });
});

describe('queries', () => {
  const query = (text: string) => Object.fromEntries(new URLSearchParams(text));

  it.each([
    [PageQueryDto, 'limit=1000&cursor=abc', []],
    [PageQueryDto, 'limit=0', ['limit']],
    [PageQueryDto, 'limit=1001', ['limit']],
    [PageQueryDto, 'limit=1e2', ['limit']],
    [PageQueryDto, 'constructor=x', ['constructor']],
    [PageQueryDto, 'cursor=%00', ['cursor']],
    [PlansQueryDto, 'phase=succeeded&name=x', []],
    [PlansQueryDto, 'phase=done', ['phase']],
    [PlansQueryDto, 'page=2', ['page']],
    [ShardsQueryDto, 'phase=retrying', []],
    [ShardsQueryDto, 'phase=certifying', ['phase']],
    [EventsQueryDto, 'topic=hxo.shard.failed&after=17', []],
    [EventsQueryDto, 'topic=hxo.shard.*', []],
    [EventsQueryDto, 'topic=*', []],
    [EventsQueryDto, 'topic=hxo.shard.fialed', ['topic']],
    [EventsQueryDto, 'topic=x*', ['topic']],
    [EventsQueryDto, 'after=-1', ['after']],
  ])('%p ?%s has faults in %j', async (dto, text, fields) => {
    expect(await fieldsOf(new Validated<object>(dto, 'INVALID_QUERY'), query(text))).toEqual(fields);
  });

  it('refuses a parameter given twice', async () => {
    const page = new Validated(PageQueryDto, 'INVALID_QUERY');
    expect(await fieldsOf(page, { limit: ['1', '2'] })).toEqual(['limit']);
    expect(await fieldsOf(page, { cursor: ['1', '2'] })).toEqual(['cursor']);
  });

  it('reads the limit as a number', () => {
    expect(withLimit({ limit: '20', cursor: 'c' })).toEqual({ limit: 20, cursor: 'c' });
    expect(withLimit({})).toEqual({});
  });
});
