import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NestFactory } from '@nestjs/core';
import { GenesisBus } from './bus.js';
import { GenesisModule } from './genesis.module.js';
import { Journal } from './journal.js';

describe('GenesisModule', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'hxo-genesis-'))));
  afterEach(() => rmSync(folder, { recursive: true }));

  const start = (mode: 'enabled' | 'disabled') =>
    NestFactory.createApplicationContext(GenesisModule.register({ mode, journal_folder: folder }), {
      logger: false,
    });

  it('offers bus and journal, and leaves it to its user to close the journal', async () => {
    const app = await start('enabled');
    const [bus, journal] = [app.get(GenesisBus), app.get(Journal)];
    bus.subscribeAll((event) => journal.append(event));
    const time = '2025-10-11T20:00:00Z';
    bus.publish({ id: '1', topic: 'hxo.aggregate.ready', time, plan_id: 'p1', data: { leaves: 3 } });
    await app.close();
    await journal.close();
    expect(readFileSync(join(folder, 'events-1.ndjson'), 'utf8')).toBe(
      `{"id":"1","topic":"hxo.aggregate.ready","time":"${time}","plan_id":"p1","data":{"leaves":3}}\n`,
    );
  });

  it('has neither events nor journal when disabled', async () => {
    const app = await start('disabled');
    expect([app.get(GenesisBus).enabled, app.get(Journal), readdirSync(folder)]).toEqual([false, null, []]);
    await app.close();
  });
});
