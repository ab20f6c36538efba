import fc from 'fast-check';
import { globFault } from './glob-fault.js';

describe('globFault', () => {
  it.each([
    ...['**', '*', 'src', 'src/', './src/**/*.ts', '**/*.{ts,tsx}', '{a,{b,c}}/d', 'app/[slug]/page.tsx'],
    ...[
      '.github/**',
      '.env*',
      '..hidden',
      'a..b',
      '!(x).ts',
      '\\!important',
      'a\\{b',
      'a\\}',
      '[}]',
      '[!a-z]*',
    ],
  ])('lets %s through', (glob) => {
    expect(globFault(glob)).toBeNull();
  });

  it.each([
    ['/etc/*', /is absolute/],
    ['/', /is absolute/],
    ['../x', /leaves its root/],
    ['src/../../x', /leaves its root/],
    ['src/..', /leaves its root/],
    ['{..,src}/x', /leaves its root/],
    ['.', /Use "\*\*"/],
    ['./', /Use "\*\*"/],
    ['a//b', /empty or "\." folder/],
    ['a/./b', /empty or "\." folder/],
    ['src/{a,b', /is malformed: Missing closing: "}"/],
    ['src/a,b}', /is malformed: Missing opening: "{"/],
    ['[ab', /is malformed: Missing closing: "]"/],
    ['+(a', /is malformed: Missing closing: "\)"/],
    ['[z-a]', /anything can match/],
    ['!src', /begins with "!"/],
    ['a\0b', /NUL/],
  ])('refuses %j', (glob, fault) => {
    expect(globFault(glob)).toMatch(fault);
  });

  it('lets every plain relative path through, and throws at nothing', () => {
    const name = fc.stringMatching(/^[a-z0-9_-][a-z0-9._ -]{0,9}$/);
    fc.assert(fc.property(fc.array(name, { minLength: 1 }), (names) => globFault(names.join('/')) === null));
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void globFault(text)));
  });
});
