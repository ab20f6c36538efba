/** A set of shard ordinals as text, ascending: `0-255,300`. How bundles and events store their shards. */
export function printRanges(ordinals: readonly number[]): string {
  const parts: string[] = [];
  for (let i = 0; i < ordinals.length;) {
    let j = i;
    while (j + 1 < ordinals.length && ordinals[j + 1] === ordinals[j]! + 1) j++;
    parts.push(i === j ? `${ordinals[i]}` : `${ordinals[i]}-${ordinals[j]}`);
    i = j + 1;
  }
  return parts.join(',');
}

/** The ordinals that {@link printRanges} printed. */
export function parseRanges(text: string): number[] {
  const ordinals: number[] = [];
  if (text === '') return ordinals;
  for (const part of text.split(',')) {
    const [first, last] = part.split('-').map(Number) as [number, number?];
    for (let ordinal = first; ordinal <= (last ?? first); ordinal++) ordinals.push(ordinal);
  }
  return ordinals;
}
