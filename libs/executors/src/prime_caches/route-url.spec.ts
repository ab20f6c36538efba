import fc from 'fast-check';
import { routeUrl } from './route-url.js';

it.each([
  ['https://example.com', '/', 'https://example.com/'],
  ['https://example.com', '/guide', 'https://example.com/guide'],
  ['https://example.com/docs', '/', 'https://example.com/docs/'],
  ['https://example.com/docs', '/guide?tab=1', 'https://example.com/docs/guide?tab=1'],
  ['https://example.com/docs', '/guide#part', 'https://example.com/docs/guide'],
  ['https://example.com/docs', '/größe', 'https://example.com/docs/gr%C3%B6%C3%9Fe'],
  [
    'https://example.com/docs',
    '/find?q=../x&u=http://a//b',
    'https://example.com/docs/find?q=../x&u=http://a//b',
  ],
  ['https://example.com', '/a;v=1/b..;c', 'https://example.com/a;v=1/b..;c'],
  ['http://[::1]:3000', '/@user/a.b..c', 'http://[::1]:3000/@user/a.b..c'],
])('%s and %s make %s', (base, route, url) => {
  expect(routeUrl(base, route)).toBe(url);
});

it.each([
  '',
  'guide',
  '//evil.test/',
  '///evil.test/',
  '/\\evil.test/',
  'https://evil.test/',
  '@evil.test/',
  '.evil.test/',
  ':8080/',
  '/..',
  '/../admin',
  '/a/../../admin',
  '/./a',
  '/%2e%2e/admin',
  '/%2E./admin',
  '/.%2e/admin',
  '/a%2f..%2fadmin',
  '/a%5c..%5cadmin',
  '/..;/admin',
  '/a/..;v=1/admin',
  '/.;/admin',
  '/%2e%2e;/admin',
  '/..%3B/admin',
  '/.%2E%3bv=1/admin',
  '/..;',
  '/.\t./admin',
  '/.\n./admin',
  '/\t/evil.test',
])('%j is refused', (route) => {
  for (const base of ['https://example.com', 'https://example.com/docs']) {
    expect(() => routeUrl(base, route)).toThrow(
      expect.objectContaining({ verdict: 'fail', code: 'ROUTE_NOT_ALLOWED' }) as Error,
    );
  }
});

it('never leaves the base, whatever the route is', () => {
  const piece = fc.oneof(
    fc.constantFrom('/', '.', '..', '%2e', '%2F', '\\', '@', ':', '?', '#', '\t', 'evil.test', '%'),
    fc.string({ unit: 'binary', maxLength: 4 }),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      let url: URL;
      try {
        url = new URL(routeUrl('https://example.com/docs', `/${pieces.join('')}`));
      } catch (error) {
        expect(error).toMatchObject({ code: 'ROUTE_NOT_ALLOWED' });
        return;
      }
      expect(url.origin).toBe('https://example.com');
      expect(url.pathname).toMatch(/^\/docs\//);
      expect(
        decodeURI(url.pathname.replace(/%(?![0-9a-f]{2})/gi, '%25').replace(/%[89a-f][0-9a-f]/gi, 'x')).split(
          '/',
        ),
      ).not.toContain('..');
    }),
    { numRuns: 2_000 },
  );
});
