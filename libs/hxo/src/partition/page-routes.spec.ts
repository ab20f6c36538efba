import fc from 'fast-check';
import { isDocument, routesOf } from './page-routes.js';

const routes = (...paths: string[]): Record<string, string> => {
  const found = routesOf(paths);
  return Object.fromEntries(paths.map((path, i) => [path, found[i]!]));
};

it('tells documents by their names', () => {
  const names = ['a.md', 'A.MD', 'a.mdx', 'a.markdown', 'a.htm', 'a.html', 'x/.md'];
  expect(names.every(isDocument)).toBe(true);
  expect(['a.txt', 'md', 'a.md.bak', 'a.xhtml', 'amd'].some(isDocument)).toBe(false);
});

it('takes the extension away, and index and README are their folder', () => {
  expect(routes('README.md', 'guide/Index.HTML', 'guide/start.mdx', 'v1.2/notes.md', 'a/reademe.md')).toEqual(
    {
      'README.md': '/',
      'guide/Index.HTML': '/guide',
      'guide/start.mdx': '/guide/start',
      'v1.2/notes.md': '/v1.2/notes',
      'a/reademe.md': '/a/reademe',
    },
  );
});

it('gives a route to the file of that name, the index, the README, the first; the others keep their paths', () => {
  expect(routes('guide.md', 'guide/README.md', 'guide/index.md', 'a.md', 'a.html')).toEqual({
    'guide.md': '/guide',
    'guide/README.md': '/guide/README.md',
    'guide/index.md': '/guide/index.md',
    'a.md': '/a.md',
    'a.html': '/a',
  });
  expect(routes('x/README.md', 'x/index.md')).toEqual({ 'x/README.md': '/x/README.md', 'x/index.md': '/x' });
  expect(new Set(Object.values(routes('x/README.md', 'x/index.md', 'x/README.md.md'))).size).toBe(3);
});

it('makes every route another, whatever the order of paths', () => {
  const name = fc.constantFrom('a', 'index', 'README', 'readme', 'a.md', 'README.md');
  const extension = fc.constantFrom('.md', '.html', '.MD', '.markdown');
  const path = fc
    .tuple(fc.array(name, { maxLength: 2 }), name, extension)
    .map(([folders, own, end]) => [...folders, own + end].join('/'));
  fc.assert(
    fc.property(fc.uniqueArray(path, { maxLength: 20 }), (paths) => {
      const found = routesOf(paths);
      expect(new Set(found).size).toBe(paths.length);
      expect(found.every((route) => route.startsWith('/'))).toBe(true);
      expect(routesOf([...paths].reverse())).toEqual(found.reverse());
    }),
  );
});
