import type { SegmentTerm } from './segment.js';

/** Anything that gives its terms one after the other, sorted by UTF-16 code units. */
export interface TermSource {
  nextTerm(): SegmentTerm | null;
}

/** A term as one of the sources has it. */
export type TermPart = SegmentTerm & { readonly segment: number };

/**
 * Merges sorted sources: each term once, sorted, with what every source has of it. A binary heap of one term a source, so
 * memory does not grow with the terms.
 */
export function* mergeTerms(sources: readonly TermSource[]): Generator<[string, TermPart[]]> {
  const heap: TermPart[] = [];
  const pull = (segment: number): void => {
    const next = sources[segment]!.nextTerm();
    if (next !== null) push(heap, { ...next, segment });
  };
  for (const segment of sources.keys()) pull(segment);
  while (heap.length > 0) {
    const { term } = heap[0]!;
    const parts: TermPart[] = [];
    while (heap.length > 0 && heap[0]!.term === term) {
      const part = pop(heap);
      parts.push(part);
      pull(part.segment);
    }
    yield [term, parts];
  }
}

function push(heap: TermPart[], part: TermPart): void {
  let at = heap.length;
  while (at > 0) {
    const above = (at - 1) >> 1;
    if (heap[above]!.term <= part.term) break;
    heap[at] = heap[above]!;
    at = above;
  }
  heap[at] = part;
}

function pop(heap: TermPart[]): TermPart {
  const least = heap[0]!;
  const last = heap.pop()!;
  if (heap.length === 0) return least;
  let at = 0;
  for (let below = 1; below < heap.length; below = 2 * at + 1) {
    if (below + 1 < heap.length && heap[below + 1]!.term < heap[below]!.term) below++;
    if (last.term <= heap[below]!.term) break;
    heap[at] = heap[below]!;
    at = below;
  }
  heap[at] = last;
  return least;
}
