import Database from 'better-sqlite3';
import { join } from 'node:path';
import { RunningEngine } from '../../../test/engine/running-engine.js';
import { system_clock } from './clock.js';
import { HxoService, type HxoServicePorts } from './hxo.service.js';
import type { PlanId } from './plan/plan-spec.js';

let hxo: RunningEngine;
afterEach(() => hxo.close());

/** The service over an engine; what these specs do not call is not there. */
function serviceOf({ engine, store }: RunningEngine, enabled: boolean): HxoService {
  return new HxoService({ engine, store, clock: system_clock, enabled } as unknown as HxoServicePorts);
}

it('says of every submitted plan that HXO is disabled', async () => {
  hxo = await RunningEngine.start({ work: async () => {} });
  const submitted = await hxo.submit([{ id: 's' }]);
  const { spec } = hxo.store.planById(submitted)!;
  const created = await hxo.engine.store(spec, 'created', { role: 'admiral' });
  await hxo.until(submitted, ({ running_shards }) => running_shards > 0);
  const waits = async (plan_id: PlanId, enabled: boolean): Promise<string | null> =>
    (await serviceOf(hxo, enabled).status(plan_id)).waiting_for;
  expect(await waits(submitted, true)).toBeNull();
  expect(await waits(submitted, false)).toMatch(/^HXO to be enabled \(HXO_ENABLED=false now\)/);
  expect(await waits(created, false)).toBe('POST /api/hxo/submit');
  await hxo.engine.abort(hxo.store.planById(submitted)!.plan_no, submitted, { role: 'admiral' });
  expect(await waits(submitted, false)).toBeNull();
});

it('answers what is damaged, and what to do, for a plan whose row cannot be read', async () => {
  hxo = await RunningEngine.start();
  const { plan_id } = await hxo.run([{ id: 's' }]);
  const other = new Database(join(hxo.dir, 'hxo.db'));
  other.exec(`UPDATE plan SET spec = '{'`);
  other.close();
  const damaged = {
    code: 'STORE_UNAVAILABLE',
    message: expect.stringMatching(/spec .* is damaged\. Restore/) as string,
  };
  await expect(serviceOf(hxo, true).status(plan_id)).rejects.toMatchObject(damaged);
  await expect(serviceOf(hxo, true).plans({})).rejects.toMatchObject(damaged);
});

it('answers from the registry what is an entry, and nothing else', async () => {
  hxo = await RunningEngine.start();
  const values = new Map([
    ['registry/lib', '{"module":"lib"}'],
    ['registry/damaged', '{"module":'],
    ['content/lib', '{}'],
  ]);
  const get = async (key: string) => (values.has(key) ? Buffer.from(values.get(key)!) : null);
  const service = new HxoService({ cache: { get } } as unknown as HxoServicePorts);
  expect(await service.registryEntry('lib')).toEqual({ module: 'lib' });
  for (const module of ['damaged', 'none', '../content/lib', 'a\0b', 'x'.repeat(2_000)]) {
    const missing = {
      code: 'REGISTRY_ENTRY_NOT_FOUND',
      message: expect.stringContaining('warm_registry') as string,
    };
    await expect(service.registryEntry(module)).rejects.toMatchObject(missing);
  }
});

it('takes the cursors of shards that it gave out, and no others', async () => {
  hxo = await RunningEngine.start();
  const { plan_id } = await hxo.run([{ id: 's' }]);
  const service = serviceOf(hxo, true);
  const { next_cursor } = await service.shards(plan_id, { limit: 1 });
  expect(next_cursor).toBe('0.1');
  const { items } = await service.shards(plan_id, { cursor: next_cursor! });
  expect(items.map(({ ordinal }) => ordinal)).toEqual([1, 2]);
  for (const cursor of ['', '0', '0.', '0.1.2', '1.2.3.4', '-1.0', '0.1e1'])
    await expect(service.shards(plan_id, { cursor })).rejects.toMatchObject({ code: 'INVALID_QUERY' });
});
