/** The script of the process that parses sources: a list of sources comes in, what each imports goes out. */
import type { Source } from './import-reader.js';
import { importsOf } from './imports-of.js';

process.on('message', (sources: readonly Source[]) => {
  process.send!(
    sources.map(({ path, text }) => {
      try {
        return importsOf(path, text);
      } catch {
        // What neither parses nor overflows the stack, such as a tree too large for a text: no imports.
        return [];
      }
    }),
  );
});
process.on('disconnect', () => process.exit());
process.send!('ready');
