import { HxoError } from '#hxo';
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

async function fieldsOf(pipe: Validated<object>, value: unknown): Promise<string[]> {
  try {
    await pipe.transform(value);
    return [];
  } catch (error) {
    if (error instanceof HxoError) return error.errors.map(({ field }) => field);
    throw error;
  }
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

  it('tells a hundred faults at most', async () => {
    const stages = Array.from({ length: 300 }, () => ({ id: '', kind: '' }));
    expect(await fieldsOf(plan, { name: 'x', stages })).toHaveLength(100);
  });
});

describe('SubmitDto', () => {
  it('is a plan id and nothing else', async () => {
    const submit = new Validated(SubmitDto, 'INVALID_PLAN');
    expect(await submit.transform({ plan_id: 'abc-123' })).toEqual({ plan_id: 'abc-123' });
    expect(await fieldsOf(submit, { plan_id: 5, force: true })).toEqual(['force', 'plan_id']);
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
