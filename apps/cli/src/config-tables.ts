import { partitioners, type ConfigField } from '#hxo';
import { executors } from '#executors';

/** A table in the contract's document, between its two marks; the name is that of a partitioner or executor. */
const marked = /(<!-- config of (\w+) -->\n)[^]*?(\n<!-- end of config -->)/g;

type Fields = Readonly<Record<string, Pick<ConfigField<unknown>, 'default' | 'meaning'>>>;

/**
 * The document with every marked table as the fields of its partitioner or executor have it: what validates a config
 * documents it. Throws when a mark names nothing.
 */
export function withConfigTables(document: string): string {
  const known = configFields();
  return document.replace(marked, (_, begin: string, name: string, end: string) => {
    const fields = known.get(name);
    if (fields === undefined) throw new Error(`There is no partitioner and no executor ${name} with fields.`);
    return `${begin}\n${table(fields)}${end}`;
  });
}

/** Names of all partitioners and executors that have fields of their own. */
export function configFields(): ReadonlyMap<string, Fields> {
  const all = [...partitioners.values()].map(({ name, fields }): [string, Fields?] => [
    name,
    fields as Fields,
  ]);
  for (const { name, options } of executors) all.push([name, options]);
  return new Map(all.filter((entry): entry is [string, Fields] => entry[1] !== undefined));
}

function table(fields: Fields): string {
  const rows = Object.entries(fields).map(([name, field]) => [`\`${name}\``, field.default, field.meaning]);
  const all = [['Config field', 'Default', 'Meaning'], ...rows];
  const widths = [0, 1, 2].map((column) => Math.max(...all.map((row) => row[column]!.length)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |\n`;
  const rule = widths.map((width) => '-'.repeat(width));
  return [all[0]!, rule, ...all.slice(1)].map(line).join('');
}
