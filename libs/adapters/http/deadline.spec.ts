import { once } from 'node:events';
import { Deadline } from './deadline.js';

const other = (): AbortController => new AbortController();

it('aborts when its time is over, counted from its start', async () => {
  const deadline = new Deadline(other().signal);
  expect(deadline.signal.aborted).toBe(false);
  deadline.start(20);
  deadline.start(60_000);
  await once(deadline.signal, 'abort');
  expect(deadline.signal.reason).toMatchObject({ name: 'TimeoutError' });
});

it('aborts with the other signal, for its reason, and at once when that is aborted', () => {
  const [first, second] = [other(), other()];
  const reason = new Error('enough');
  const deadline = new Deadline(first.signal);
  first.abort(reason);
  second.abort(reason);
  expect([deadline.signal.reason, new Deadline(second.signal).signal.reason]).toEqual([reason, reason]);
});

it('does neither once it is cleared', async () => {
  const first = other();
  const deadline = new Deadline(first.signal);
  deadline.start(5);
  deadline.clear();
  first.abort();
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(deadline.signal.aborted).toBe(false);
});
