import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { configFields, withConfigTables } from '../../apps/cli/src/config-tables.js';
import { readDocument } from './documents.js';

describe('the documents', () => {
  const pages = [
    'README.md',
    ...readdirSync('docs', { recursive: true, encoding: 'utf8' }).map((name) => join('docs', name)),
  ];
  it.each(pages.filter((name) => name.endsWith('.md')))('%s names files that there are', (page) => {
    const content = readFileSync(page, 'utf8');
    const named = [...content.matchAll(/`((?:apps|libs|test|docs)\/[^`\s*]+)`/g)].map(([, path]) => path!);
    const linked = [...content.matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)].map(([, path]) =>
      join(dirname(page), path!),
    );
    expect([...named, ...linked].filter((path) => !existsSync(path))).toEqual([]);
  });

  it('ARCHITECTURE.md says where each file of the quick reference is', () => {
    const engine =
      'core models routes partitioners schedulers executors checkpointer merkle rehydrator'.split(' ');
    const links = 'genesis federation autonomy truth blueprint parser permission'.split(' ');
    const names = [
      ...engine.map((name) => `${name}.py`),
      ...links.map((name) => `hxo_${name}_link.py`),
      ...['checkpoints.db', 'artifacts/', 'journal/'],
      ...['OVERVIEW', 'OPERATIONS', 'BLUEPRINT_CONTRACT', 'GENESIS_TOPICS'].map(
        (name) => `docs/HXO_${name}.md`,
      ),
    ];
    const map = readDocument('docs/ARCHITECTURE.md').section("Where the quick reference's files are")
      .tables[0]!;
    const mapped = map.map(([cell]) => cell).join(' ');
    expect(names.filter((name) => !mapped.includes(`${name}\``))).toEqual([]);
  });

  it('HXO_BLUEPRINT_CONTRACT.md has the fields of every partitioner and executor as they are checked (npm run docs)', () => {
    const contract = readFileSync('docs/HXO_BLUEPRINT_CONTRACT.md', 'utf8');
    expect(contract).toBe(withConfigTables(contract));
    const names = [...contract.matchAll(/<!-- config of (\w+) -->/g)].map(([, name]) => name);
    expect(names.sort()).toEqual([...configFields().keys()].sort());
  });
});
