import { importsOf } from './imports-of.js';

it.each<[string, string, string, string[]]>([
  ['statements', 'a.ts', 'import a from "./a"; import "./b"; export * from "./c"; export { x } from "./d";', ['./a', './b', './c', './d']],
  ['type-only statements', 'a.ts', 'import type { A } from "./a"; export type { B } from "./b";', ['./a', './b']],
  ['calls with a literal', 'a.ts', 'import("./a"); await import(`./b`); require("./c"); require(`./${d}`); import(e);', ['./a', './b', './c']],
  ['calls behind comments', 'a.js', 'import /* c */ ("./a"); require // c\n ("./b"); import(/* c */ "./c"); require\n("./d")', ['./a', './b', './c', './d']],
  ['calls between statements', 'a.ts', 'import "./a"; const x = require("./b"); import "./c";', ['./a', './b', './c']],
  ['calls far inside', 'a.cjs', 'f(() => { if (x) { return [require("./a"), { y: import("./b") }]; } });', ['./a', './b']],
  ['what TypeScript adds', 'a.ts', 'import a = require("./a"); type B = import("./b").B; let c: typeof import("./c");', ['./a', './b', './c']],
  ['escapes', 'a.ts', String.raw`import "./a\u0062"; import("./c\x64");`, ['./ab', './cd']],
  ['each once', 'a.ts', 'import "./a"; import x from "./a"; import("./a");', ['./a']],
  ['JSX in .js', 'a.js', `import "./a"; export default () => <p>Don't require("./x")</p>; import("./b");`, ['./a', './b']],
  ['JSX in .tsx', 'a.tsx', 'import "./a"; const x = <T,>(t: T) => <p>{require("./b")}</p>;', ['./a', './b']],
  ['a script with a return and a hashbang', 'a.js', '#!/usr/bin/env node\nconst a = require("./a"); return;', ['./a']],
  ['decorators', 'a.mts', '@d class A { @d() b = import("./a"); }', ['./a']],
  ['a byte order mark', 'a.ts', '\uFEFFimport "./a";', ['./a']],
  ['no text, comment, regular expression or member', 'a.ts', '// import "./a"\nconst x = `import("./b")` + "require(\'./c\')"; /require("d")/; x.require("./e"); /* require("./f") */', []],
  ['nothing', 'a.ts', '', []],
  ['nothing where it cannot be parsed', 'a.ts', 'import "./a"; let x = (((;', []],
  ['nothing of what is no source at all', 'a.ts', '\0\u0001\uFFFD{{<>', []],
])('finds %s', (_what, path, text, found) => {
  expect([...importsOf(path, text)].sort()).toEqual(found);
}); // prettier-ignore

it('walks a tree that is far deeper than a stack', () => {
  const deep = `x = a${'.b'.repeat(50_000)}; require("./a");`;
  expect(importsOf('a.js', deep)).toEqual(['./a']);
});
