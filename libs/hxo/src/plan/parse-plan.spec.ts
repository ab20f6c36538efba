import type { Json } from '#truth';
import { HxoError } from '../errors.js';
import { job_kinds, type JobKind } from './job-kinds.js';
import { parsePlan } from './parse-plan.js';
import type { StageSpec } from './plan-spec.js';

const kinds = new Map<string, JobKind>(job_kinds.map((kind) => [kind.name, kind]));
const defaults = { slo_ms: 111_000, shard_timeout_ms: 15_000, max_shards: 1_000_000 };

const parse = (raw: Json): ReturnType<typeof parsePlan> => parsePlan(raw, kinds, defaults);
const stageOf = (stage: Record<string, Json>): StageSpec =>
  parse({ name: 'p', stages: [{ id: 's', ...stage }] }).stages[0]!;

function errorOf(raw: Json): HxoError {
  try {
    parse(raw);
  } catch (error) {
    if (error instanceof HxoError) return error;
    throw error;
  }
  throw new Error('The plan was accepted.');
}

describe('parsePlan', () => {
  it('fills the minimal plan', () => {
    expect(parse({ name: 'my_plan', stages: [{ id: 'stage_1', kind: 'deploy.pack' }] })).toEqual({
      name: 'my_plan',
      stages: [
        {
          id: 'stage_1',
          kind: 'deploy.pack',
          partitioner: 'by_filesize',
          executor: 'pack_backend',
          scheduler: 'fair_round_robin',
          config: {},
          slo_ms: 120_000,
          shard_timeout_ms: 15_000,
          dependencies: [],
          failure_policy: 'continue',
          retry: { max_failures: 3, backoff_ms: 500, backoff_max_ms: 30_000 },
        },
      ],
      constraints: { max_shards: 1_000_000, timebox_ms: null },
    });
  });

  it.each([
    ['deploy.pack', 'by_filesize', 'pack_backend', 120_000],
    ['deploy.migrate', 'by_sql_batch', 'sql_migrate', 30_000],
    ['deploy.prime', 'by_module', 'warm_registry', 45_000],
    ['assets.index', 'by_asset_bucket', 'index_assets', 60_000],
    ['docs.index', 'by_route_map', 'docs_index', 30_000],
  ])('gives %s its defaults', (kind, partitioner, executor, slo_ms) => {
    expect(stageOf({ kind })).toMatchObject({ partitioner, executor, slo_ms });
  });

  it.each([
    ['by_module', 'warm_registry'],
    ['by_dag_depth', 'prime_caches'],
    ['by_route_map', 'prime_caches'],
  ])('chooses the executor of deploy.prime by its partitioner %s', (partitioner, executor) => {
    expect(stageOf({ kind: 'deploy.prime', partitioner })).toMatchObject({ partitioner, executor });
  });

  it('keeps what is given, and merges a retry policy given in part', () => {
    const given = {
      ...{
        kind: 'deploy.pack',
        partitioner: 'by_module',
        executor: 'other',
        scheduler: 'hot_shard_splitter',
      },
      ...{
        config: { x: [1] },
        slo_ms: 5,
        shard_timeout_ms: 0,
        dependencies: ['a'],
        failure_policy: 'halt_plan',
      },
    };
    expect(stageOf({ ...given, retry: { max_failures: 1 } })).toEqual({
      id: 's',
      ...given,
      retry: { max_failures: 1, backoff_ms: 500, backoff_max_ms: 30_000 },
    });
  });

  it('takes HXO_DEFAULT_SLO_MS for a kind without its own', () => {
    const own: JobKind = { ...job_kinds[0]!, name: 'own', slo_ms: null };
    const plan = parsePlan(
      { name: 'p', stages: [{ id: 's', kind: 'own' }] },
      new Map([['own', own]]),
      defaults,
    );
    expect(plan.stages[0]!.slo_ms).toBe(111_000);
  });

  it.each([
    [500, 500],
    [1_000_000, 1_000_000],
    [1_000_001, 1_000_000],
  ])('caps max_shards %i at HXO_MAX_SHARDS: %i', (asked, max_shards) => {
    const stages = [{ id: 's', kind: 'deploy.pack' }];
    const constraints = { max_shards: asked, timebox_ms: 60_000 };
    expect(parse({ name: 'p', stages, constraints }).constraints).toEqual({ max_shards, timebox_ms: 60_000 });
  });

  it('names every stage of an unknown kind, and the kinds there are', () => {
    const error = errorOf({
      name: 'p',
      stages: [
        { id: 'one', kind: 'deploy.pak' },
        { id: 'two', kind: 'deploy.pack' },
        { id: 'three', kind: 'constructor' },
      ],
    });
    expect(error.code).toBe('BLUEPRINT_VIOLATION');
    expect(error.errors.map(({ field }) => field)).toEqual(['stages[0].kind', 'stages[2].kind']);
    for (const { message } of error.errors) for (const { name } of job_kinds) expect(message).toContain(name);
    expect(error.message).toContain('one');
  });

  it.each<[string, Json]>([
    ['nothing', null],
    ['a text', 'plan'],
    ['a list', []],
    ['no name', { stages: [{ id: 's', kind: 'deploy.pack' }] }],
    ['no stages', { name: 'p' }],
    ['no stage', { name: 'p', stages: [] }],
    ['a null stage', { name: 'p', stages: [null] }],
    ['a stage without id', { name: 'p', stages: [{ kind: 'deploy.pack' }] }],
    ['a stage without kind', { name: 'p', stages: [{ id: 's' }] }],
    ['a kind that is no text', { name: 'p', stages: [{ id: 's', kind: 7 }] }],
  ])('refuses %s', (_, raw) => {
    expect(errorOf(raw).code).toBe('INVALID_PLAN');
  });
});
