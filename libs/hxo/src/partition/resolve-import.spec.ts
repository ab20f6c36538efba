import { joinImport, packageOf, resolveImport } from './resolve-import.js';

const files = new Set([
  'src/a.ts', 'src/b.js', 'src/b.ts', 'src/c.tsx', 'src/d.mts', 'src/e.cts', 'src/f.d.ts', 'src/g.mjs', 'src/h.min.js',
  'src/dir/index.ts', 'src/both.ts', 'src/both/index.js', 'index.js', 'src/data.json', 'src/jsx.jsx',
]); // prettier-ignore

describe('resolveImport', () => {
  it.each([
    ['./b.js', 'src/b.js'],
    ['./a.js', 'src/a.ts'],
    ['./c.js', 'src/c.tsx'],
    ['./c.jsx', 'src/c.tsx'],
    ['./d.mjs', 'src/d.mts'],
    ['./e.cjs', 'src/e.cts'],
    ['./f.js', 'src/f.d.ts'],
    ['./f', 'src/f.d.ts'],
    ['./a', 'src/a.ts'],
    ['./a.ts', 'src/a.ts'],
    ['./b', 'src/b.ts'],
    ['./g', 'src/g.mjs'],
    ['./jsx', 'src/jsx.jsx'],
    ['./h.min', 'src/h.min.js'],
    ['./dir', 'src/dir/index.ts'],
    ['./dir/', 'src/dir/index.ts'],
    ['./both', 'src/both.ts'],
    ['./both/', 'src/both/index.js'],
    ['./dir/../a', 'src/a.ts'],
    ['./dir//index.js', 'src/dir/index.ts'],
    ['../src/a.js', 'src/a.ts'],
    ['..', 'index.js'],
    ['../', 'index.js'],
    ['../index', 'index.js'],
    ['./missing', null],
    ['../../a', null],
    ['../../../index', null],
    ['a', null],
    ['/src/a.ts', null],
    ['.../a', null],
    ['node:fs', null],
    ['#a', null],
  ])('%s means %s', (specifier, path) => {
    expect(resolveImport('src/x.ts', specifier, (file) => files.has(file))).toBe(path);
  });
});

it('joins paths inside the root only', () => {
  expect(joinImport('a/b.ts', '..')).toBe('');
  expect(joinImport('a/b.ts', './')).toBe('a');
  expect(joinImport('a/b.ts', '../../x')).toBeNull();
  expect(joinImport('a/b.ts', 'x')).toBeNull();
});

it('tells the package of a bare import', () => {
  expect(['a', 'a/b/c', '@s/a', '@s/a/b'].map(packageOf)).toEqual(['a', 'a', '@s/a', '@s/a']);
});
