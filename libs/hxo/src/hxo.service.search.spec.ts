import { sha256 } from '#truth';
import { BackgroundError } from './background.js';
import { HxoService, type HxoServicePorts } from './hxo.service.js';

it('searches the index of a plan, ten pages unless told otherwise, and says when its artifacts are gone', async () => {
  const artifacts = ['index', 'documents'].map((name) => ({ name, digest: sha256(name), bytes: 1 }));
  const store = {
    plans: async () => [{ plan_no: 1, plan_id: 'p', spec: { stages: [{ id: 'docs', kind: 'docs.index' }] } }],
    stages: () => [{ output: { artifacts } }],
  };
  const orders: unknown[] = [];
  const search = async (order: { query: string }): Promise<unknown> => {
    orders.push(order);
    if (order.query === 'gone') throw new BackgroundError('IndexUnusable', 'Submit the plan again.');
    if (order.query === 'died') throw new BackgroundError('ThreadDied', 'It has ended.');
    return { total: 0, items: [] };
  };
  const service = new HxoService({ store, background: { search } } as unknown as HxoServicePorts);
  const found = { plan_id: 'p', stage: 'docs', total: 0, items: [] };
  expect(await service.search({ query: 'word' })).toEqual({ query: 'word', ...found });
  await service.search({ query: 'word', limit: 3 });
  const [index, documents] = [sha256('index'), sha256('documents')];
  expect(orders).toEqual([10, 3].map((limit) => ({ index, documents, query: 'word', limit })));
  const gone = { code: 'INDEX_NOT_FOUND', message: 'Submit the plan again.' };
  await expect(service.search({ query: 'gone' })).rejects.toMatchObject(gone);
  await expect(service.search({ query: 'died' })).rejects.toMatchObject({ name: 'ThreadDied' });
});
