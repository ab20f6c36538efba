import { assertCacheable, CacheLimitError, cacheKey } from './cache.js';

it.each(['lib', '@scope/name', 'größe/日本語', 'two words', 'a'.repeat(1_015)])('%s is a name', (name) => {
  expect(cacheKey('registry', name)).toBe(`registry/${name}`);
});

it.each(['', 'a\nb', 'a\0b', '\u0085', '\ud800', 'a'.repeat(1_016), 'ö'.repeat(508)])(
  '%j is no name',
  (name) => {
    expect(() => cacheKey('registry', name)).toThrow(CacheLimitError);
  },
);

it('takes values of 1 MiB at most', () => {
  expect(() => assertCacheable(new Uint8Array(1_048_576))).not.toThrow();
  expect(() => assertCacheable(new Uint8Array(1_048_577))).toThrow(/1048577 bytes/);
});
