import { sha256 } from '#truth';
import type { CheckpointStore, PlanRow, StageRow } from './checkpoint/checkpoint-store.js';
import { docsIndexOf, newestDocsIndex } from './find-docs-index.js';

type Stage = readonly [id: string, kind: string, artifacts: readonly string[] | null];
type Plans = CheckpointStore['plans'];

/** Plans of stages, the oldest first; a stage with artifacts of these names is done. */
class FakeStore implements Pick<CheckpointStore, 'plans' | 'stages'> {
  pages = 0;
  constructor(private readonly specs: readonly (readonly Stage[])[]) {}

  plan(plan_no: number): PlanRow {
    const stages = this.specs[plan_no]!.map(([id, kind]) => ({ id, kind }));
    return {
      plan_no,
      plan_id: `plan-${plan_no}`,
      phase: 'succeeded',
      spec: { stages },
    } as unknown as PlanRow;
  }

  async plans({ before_no, limit, phase }: Parameters<Plans>[0]): ReturnType<Plans> {
    expect(phase).toBe('succeeded');
    this.pages++;
    const numbers = [...this.specs.keys()].filter((no) => before_no === null || no < before_no);
    return numbers.reverse().slice(0, limit).map((no) => this.plan(no)); // prettier-ignore
  }

  stages(plan_no: number): StageRow[] {
    return this.specs[plan_no]!.map(([id, , names]) => {
      const artifacts = names?.map((name) => ({
        name,
        digest: sha256(`${plan_no} ${id} ${name}`),
        bytes: 1,
      }));
      return { output: artifacts && { artifacts } } as unknown as StageRow;
    });
  }
}

const both = ['index', 'documents'];
const found = (plan_no: number, stage: string): object => ({
  plan_id: `plan-${plan_no}`,
  stage,
  index: sha256(`${plan_no} ${stage} index`),
  documents: sha256(`${plan_no} ${stage} documents`),
});

it('takes the newest plan that has an index, of the stage that is asked for', async () => {
  const store = new FakeStore([
    [['manual', 'docs.index', both]],
    [['pack', 'deploy.pack', both], ['site', 'docs.index', both], ['manual', 'docs.index', null]],
    [['site', 'docs.index', ['other']]],
    [['pack', 'deploy.pack', both]],
  ]); // prettier-ignore
  expect(await newestDocsIndex(store, undefined)).toEqual(found(1, 'site'));
  expect(await newestDocsIndex(store, 'manual')).toEqual(found(0, 'manual'));
  const missing = newestDocsIndex(store, 'pack');
  await expect(missing).rejects.toMatchObject({ code: 'INDEX_NOT_FOUND' });
  await expect(missing).rejects.toThrow(/the id pack\. Submit a plan with a stage of kind docs\.index/);
});

it('looks no further than a thousand plans', async () => {
  const other: Stage[] = [['pack', 'deploy.pack', both]];
  const store = new FakeStore([
    [['docs', 'docs.index', both]],
    ...Array.from({ length: 1_000 }, () => other),
  ]);
  await expect(newestDocsIndex(store, undefined)).rejects.toMatchObject({ code: 'INDEX_NOT_FOUND' });
  expect(store.pages).toBe(10);
  expect(docsIndexOf(store, store.plan(0), undefined)).toEqual(found(0, 'docs'));
});

it('says of a plan that is named which stage it lacks', () => {
  const store = new FakeStore([[['a', 'docs.index', null], ['b', 'docs.index', both]]]); // prettier-ignore
  const plan = store.plan(0);
  expect(docsIndexOf(store, plan, undefined)).toEqual(found(0, 'b'));
  expect(docsIndexOf(store, plan, 'b')).toEqual(found(0, 'b'));
  expect(() => docsIndexOf(store, plan, 'a')).toThrow(/plan-0 \(succeeded\) has no search index of stage a/);
  expect(() => docsIndexOf(store, plan, 'c')).toThrow('The plan has no stage c. Its stages: a, b.');
});
