import { parseSync, type Program } from 'oxc-parser';

/** What may hold imports that the parser's record of a module does not list: calls, and TypeScript's `import x = require()`. */
const may_call = /\b(?:require|import)\s*(?:\(|\/[*/])/;

interface Node {
  readonly type?: unknown;
  readonly [field: string]: unknown;
}

/**
 * The specifiers that a JavaScript or TypeScript source imports, each once: `import`, `export … from`, `import()` and
 * `require()` with a literal, `import x = require()` and `import('…')` as a type. Type-only imports count. What cannot be
 * parsed has none.
 *
 * Native code does the work, and its stack can overflow, which ends the process: call it only where that does no harm.
 *
 * @param path tells the language by its extension
 */
export function importsOf(path: string, text: string): readonly string[] {
  // JSX is common in files that are only named .js.
  const result = parseSync(path, text, /\.[cm]?js$/i.test(path) ? { lang: 'jsx' } : {});
  const { staticImports, staticExports } = result.module;
  const found = new Set<string>(staticImports.map((statement) => statement.moduleRequest.value));
  for (const { entries } of staticExports) {
    for (const { moduleRequest } of entries) if (moduleRequest !== null) found.add(moduleRequest.value);
  }
  if (result.errors.length === 0 && !mayCall(text, staticImports)) return [...found];
  const program = result.program;
  // The parser recovers from most errors; at one that it does not recover from it leaves an empty tree.
  if (result.errors.length > 0 && program.body.length === 0) return [];
  for (const specifier of called(program)) found.add(specifier);
  return [...found];
}

/** Looks between the import statements, where these words are news. The tree costs many times what parsing does. */
function mayCall(
  text: string,
  statements: readonly { readonly start: number; readonly end: number }[],
): boolean {
  let from = 0;
  for (const { start, end } of statements) {
    if (may_call.test(text.slice(from, start))) return true;
    from = end;
  }
  return may_call.test(text.slice(from));
}

/** Walks the tree without recursion: sources may be nested deeper than the stack. */
function* called(program: Program): Generator<string> {
  const stack: unknown[] = [program];
  while (stack.length > 0) {
    const value = stack.pop();
    if (typeof value !== 'object' || value === null) continue;
    if (Array.isArray(value)) {
      for (const item of value) stack.push(item);
      continue;
    }
    const node = value as Node;
    const specifier = literal(requestOf(node));
    if (specifier !== null) yield specifier;
    for (const field in node) stack.push(node[field]);
  }
}

/** The expression that names what a node imports; undefined for a node that imports nothing. */
function requestOf(node: Node): unknown {
  switch (node.type) {
    case 'ImportExpression':
    case 'TSImportType':
      return node.source;
    case 'TSExternalModuleReference':
      return node.expression;
    case 'CallExpression': {
      const { callee, arguments: given } = node as { callee?: Node; arguments?: unknown[] };
      return callee?.type === 'Identifier' && callee.name === 'require' ? given?.[0] : undefined;
    }
    default:
      return undefined;
  }
}

function literal(value: unknown): string | null {
  if (typeof value !== 'object' || value === null) return null;
  const node = value as Node;
  if (node.type === 'Literal' && typeof node.value === 'string') return node.value;
  const { expressions, quasis } = node as {
    expressions?: unknown[];
    quasis?: { value: { cooked: unknown } }[];
  };
  const fixed = node.type === 'TemplateLiteral' && expressions?.length === 0;
  const cooked = fixed ? quasis?.[0]?.value.cooked : null;
  return typeof cooked === 'string' ? cooked : null;
}
