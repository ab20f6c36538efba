/** A number and what it counts, in words: `1 shard`, `2 shards`. */
export function counted(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
