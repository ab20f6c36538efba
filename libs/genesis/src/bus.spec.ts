import { EventEmitter2 } from '@nestjs/event-emitter';
import { Logger } from '@nestjs/common';
import { GenesisBus } from './bus.js';
import type { GenesisEvent } from './topics.js';

const alert = (id: string): GenesisEvent<'hxo.alert'> => ({
  id,
  topic: 'hxo.alert',
  time: '2025-10-11T20:00:00Z',
  plan_id: 'p1',
  data: { code: 'SLO_MISSED', stage: 'pack', detail: 'The stage took longer than its SLO.' },
});

describe('GenesisBus', () => {
  beforeAll(() => void Logger.overrideLogger(false));
  afterAll(() => void Logger.overrideLogger(['log', 'error', 'warn']));

  it('hands an event to the listeners of its topic and to those of all topics', () => {
    const bus = new GenesisBus(new EventEmitter2(), true);
    const seen: string[] = [];
    bus.subscribe('hxo.alert', (event) => void seen.push(`alert ${event.id} ${event.data.code}`));
    bus.subscribe('hxo.plan', () => void seen.push('plan'));
    bus.subscribeAll((event) => void seen.push(`all ${event.id}`));
    bus.publish(alert('1'));
    bus.publish(alert('2'));
    expect(seen).toEqual(['alert 1 SLO_MISSED', 'all 1', 'alert 2 SLO_MISSED', 'all 2']);
  });

  it('shields the publisher and the other listeners from one that throws or rejects', async () => {
    const emitter = new EventEmitter2();
    const bus = new GenesisBus(emitter, true);
    const seen: string[] = [];
    bus.subscribe('hxo.alert', () => {
      throw new Error('thrown');
    });
    bus.subscribe('hxo.alert', () => Promise.reject(new Error('rejected')));
    bus.subscribe('hxo.alert', (event) => void seen.push(event.id));
    emitter.on('hxo.alert', () => {
      throw new Error('behind the back of the bus');
    });
    bus.subscribeAll((event) => void seen.push(`all ${event.id}`));
    expect(() => bus.publish(alert('1'))).not.toThrow();
    await new Promise(setImmediate);
    expect(seen).toEqual(['1', 'all 1']);
  });

  it('stops telling a listener that has left', () => {
    const bus = new GenesisBus(new EventEmitter2(), true);
    const seen: string[] = [];
    const leave = bus.subscribeAll((event) => void seen.push(event.id));
    bus.publish(alert('1'));
    leave();
    bus.publish(alert('2'));
    expect(seen).toEqual(['1']);
  });

  it('is silent when disabled', () => {
    const bus = new GenesisBus(new EventEmitter2(), false);
    const seen: string[] = [];
    bus.subscribeAll((event) => void seen.push(event.id));
    bus.publish(alert('1'));
    expect(seen).toEqual([]);
  });
});
