import { isForThisHost, pathFault } from './request-checks.js';

describe('pathFault', () => {
  it.each([
    '/',
    '/api/hxo/status/abc-123',
    '/api/hxo/status/a%20b',
    '/health/live/',
    '/caf%C3%A9',
    '/a.b/..c',
  ])('takes %s', (path) => expect(pathFault(path)).toBeNull());

  it.each([
    '%',
    '/%',
    '/%zz',
    '/%ff',
    '//',
    '/api//hxo',
    '/api%2fhxo',
    '/api/..%2Fhxo',
    '/api%5chxo',
    '/api\\hxo',
    '/api/../hxo',
    '/api/%2e%2e/hxo',
    '/./api',
    '/api/%00',
    '/api/%0d%0aX:1',
    '/%7f',
    '*',
    'http://localhost/',
    '',
  ])('refuses %j', (path) => expect(pathFault(path)).toMatch(/\.$/));
});

describe('isForThisHost', () => {
  const asked = (...headers: string[]) => isForThisHost(headers, '127.0.0.1');

  it.each(['localhost', 'LocalHost:8000', '127.0.0.1:8000', '127.9.9.9', '[::1]', '[::1]:8000'])(
    'takes Host %s',
    (host) => expect(asked('Host', host)).toBe(true),
  );

  it.each([
    'evil.example',
    '127.0.0.1.evil.example',
    'localhost.evil.example:8000',
    'evil.example@localhost',
    'localhost/evil.example',
    'localhost:8000:9',
    '0.0.0.0',
    '[::2]',
    '',
    '192.168.0.1',
  ])('refuses Host %j', (host) => expect(asked('Host', host)).toBe(false));

  it('refuses none and two', () => {
    expect(asked()).toBe(false);
    expect(asked('Host', 'localhost', 'host', 'localhost')).toBe(false);
  });

  it('takes the name that it was told to listen on', () => {
    expect(isForThisHost(['Host', 'Loop.Test:80'], 'loop.test')).toBe(true);
  });

  it.each([
    ['http://localhost:3000', true],
    ['https://127.0.0.1', true],
    ['http://[::1]:8000', true],
    ['http://evil.example', false],
    ['https://localhost.evil.example', false],
    ['null', false],
    ['file://localhost', false],
    ['', false],
  ])('with Origin %j answers %s', (origin, expected) =>
    expect(asked('Host', 'localhost', 'Origin', origin)).toBe(expected),
  );
});
