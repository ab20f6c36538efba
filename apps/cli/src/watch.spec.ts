import { CommandError, exit_codes, ServerUnreachable } from './exit-codes.js';
import { patiently } from './watch.js';

const away = new ServerUnreachable('http://localhost', 'refused');
const overloaded = new CommandError(exit_codes.server_error, 'STORE_UNAVAILABLE', 'The store is locked.');

it('asks again while the server is away or overloaded, and notes it once each way', async () => {
  const notes: string[] = [];
  const answers = [away, overloaded, 'here'];
  const ask = async () => {
    const next = answers.shift();
    if (next instanceof Error) throw next;
    return next;
  };
  expect(await patiently(ask, { note: (text) => notes.push(text) })).toBe('here');
  expect(notes).toEqual([expect.stringContaining('Trying again'), 'The server is back.']);
});

it('does not ask again what was refused', async () => {
  let asked = 0;
  const refused = new CommandError(exit_codes.refused, 'PLAN_NOT_FOUND', 'No such plan.');
  const ask = async () => {
    asked++;
    throw refused;
  };
  await expect(patiently(ask, { note: () => undefined })).rejects.toBe(refused);
  expect(asked).toBe(1);
});

it('stops waiting when it is told to', async () => {
  const stop = new AbortController();
  const waiting = patiently(() => Promise.reject(away), { note: () => stop.abort(), signal: stop.signal });
  await expect(waiting).rejects.toMatchObject({ name: 'AbortError' });
});
