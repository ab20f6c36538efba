import { readFileSync } from 'node:fs';
import { isTopic, topics, type Topic } from './topics.js';

const document = readFileSync('docs/HXO_GENESIS_TOPICS.md', 'utf8');

/** The document by its third-level headings: topic → text. */
const sections = new Map(
  document
    .split(/^### /m)
    .slice(1)
    .map((section) => {
      const [heading = '', ...lines] = section.split('\n');
      return [heading.replaceAll('`', ''), lines.join('\n').replace(/^## [^]*/m, '')];
    }),
);

describe('docs/HXO_GENESIS_TOPICS.md', () => {
  it('has a section for every topic of the catalogue, and for no other', () => {
    expect([...sections.keys()].sort()).toEqual(Object.keys(topics).sort());
  });

  it.each(Object.keys(topics) as Topic[])('says of %s what the catalogue says', (topic) => {
    const { status, direction, when, fields } = topics[topic];
    const text = sections.get(topic) ?? '';
    expect(text).toContain(when);
    expect(text).toContain(`Direction: ${direction}.`);
    expect(text.includes('Reserved: not in use yet.')).toBe(status === 'reserved');
    const documented = [...text.matchAll(/^\| `(\w+)` +\| (.*?) +\|$/gm)].map((row) => [row[1], row[2]]);
    expect(documented).toEqual(Object.entries(fields));
  });
});

describe('isTopic', () => {
  it('knows the catalogue and nothing else', () => {
    expect(isTopic('hxo.shard.failed')).toBe(true);
    expect(['hxo', 'toString', '__proto__', 'hxo.shard.*', ''].some(isTopic)).toBe(false);
  });
});
