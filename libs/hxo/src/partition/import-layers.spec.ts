import fc from 'fast-check';
import { layersOf } from './import-layers.js';

/** What a node leads to, itself only when it is on a cycle. */
function reach(edges: readonly (readonly number[])[], from: number): Set<number> {
  const seen = new Set<number>();
  const visit = (node: number): void => {
    for (const target of edges[node]!) {
      if (seen.has(target)) continue;
      seen.add(target);
      visit(target);
    }
  };
  visit(from);
  return seen;
}

/** The definition, by trying all paths: one above the highest that is reached and does not lead back. */
function naiveLayers(edges: readonly (readonly number[])[]): number[] {
  const reached = edges.map((_, node) => reach(edges, node));
  const known = new Map<number, number>();
  const layer = (node: number): number => {
    const memo = known.get(node);
    if (memo !== undefined) return memo;
    const below = [...reached[node]!].filter((other) => !reached[other]!.has(node));
    const own = below.length === 0 ? 0 : 1 + Math.max(...below.map(layer));
    known.set(node, own);
    return own;
  };
  return edges.map((_, node) => layer(node));
}

const graphs = fc.integer({ min: 1, max: 14 }).chain((n) => {
  const node = fc.nat(n - 1);
  return fc.array(fc.array(node, { maxLength: 4 }), { minLength: n, maxLength: n });
});
const acyclic = fc
  .integer({ min: 1, max: 20 })
  .chain((n) =>
    fc.tuple(
      ...Array.from({ length: n }, (_, i) =>
        i === 0 ? fc.constant([]) : fc.array(fc.nat(i - 1), { maxLength: 4 }),
      ),
    ),
  );

describe('layersOf', () => {
  it('is the naive definition, on graphs with cycles and without', () => {
    fc.assert(
      fc.property(graphs, (edges) => expect([...layersOf(edges)]).toEqual(naiveLayers(edges))),
      {
        numRuns: 1000,
      },
    );
    fc.assert(
      fc.property(acyclic, (edges) => expect([...layersOf(edges)]).toEqual(naiveLayers(edges))),
      {
        numRuns: 500,
      },
    );
  });

  it('leaves no layer out', () => {
    fc.assert(
      fc.property(graphs, (edges) => {
        const layers = new Set(layersOf(edges));
        expect([...layers].sort((a, b) => a - b)).toEqual([...layers].map((_, i) => i));
      }),
    );
  });

  it('takes a chain and a ring of 100,000 nodes, in whatever direction, without a deep stack', () => {
    const n = 100_000;
    const down = Array.from({ length: n }, (_, i) => (i === 0 ? [] : [i - 1]));
    expect(layersOf(down)[n - 1]).toBe(n - 1);
    const up = Array.from({ length: n }, (_, i) => (i === n - 1 ? [] : [i + 1]));
    expect(layersOf(up)[0]).toBe(n - 1);
    const ring = Array.from({ length: n }, (_, i) => [(i + 1) % n]);
    expect(new Set(layersOf(ring))).toEqual(new Set([0]));
  });

  it('is nothing for nothing', () => {
    expect([...layersOf([])]).toEqual([]);
  });
});
