/** What a program without HXO does: reads a tree of Markdown, extracts its text, indexes it and writes the index. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { globby } from 'globby';
import MiniSearch from 'minisearch';
import { extractMarkdown } from '../../../dist/libs/executors/src/docs_index/extract-markdown.js';
import { search_options } from '../../../dist/libs/executors/src/docs_index/terms.js';

const [root, target] = process.argv.slice(2);
const begun = performance.now();
const index = new MiniSearch(search_options);
for (const path of await globby('**/*.md', { cwd: root, gitignore: false })) {
  const text = extractMarkdown(readFileSync(join(root, path), 'utf8'), path);
  index.add({ route: `/${path}`, path, ...text });
}
const json = JSON.stringify(index);
writeFileSync(target, json);
const seconds = Math.round(performance.now() - begun) / 1000;
process.stdout.write(JSON.stringify({ seconds, index_mb: Math.round(json.length / 1e4) / 100 }));
