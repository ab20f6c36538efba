const digits = 10;

/**
 * Places order the batches of a backfill bytewise, as their keys are ordered, without comparing keys: `0000000001`,
 * `0000000002`, … when a table is cut first. Batches that are cut later, in a gap behind a place, hang below it:
 * `0000000003/0000000001`, with one more `/` than whatever hangs there already: `/` sorts before every digit, so they
 * come before it. Behind the last place numbers go on.
 *
 * @param before the place before the gap; null at the beginning
 * @param after the place behind it; null at the end
 */
export function* placesBetween(before: string | null, after: string | null): Generator<string, never> {
  const prefix = after === null ? '' : hangBelow(before ?? '', after);
  const last = after === null ? /^\d+/.exec(before ?? '')?.[0] : undefined;
  const first = Number(last ?? 0) + 1;
  for (let number = first; ; number++) yield prefix + String(number).padStart(digits, '0');
}

function hangBelow(before: string, after: string): string {
  const below = after.startsWith(before) ? after.slice(before.length) : '';
  const slashes = /^\/*/.exec(below)![0].length;
  return `${before}${'/'.repeat(slashes + 1)}`;
}
