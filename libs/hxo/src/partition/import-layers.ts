/**
 * Layers of a graph: what imports nothing is in layer 0, everything else one above the highest of what it imports (its
 * longest path). Nodes that import each other, however far around, are in one layer, as if they were one node.
 *
 * Tarjan's strongly connected components (1972), with stacks of its own in place of recursion, so that a chain of any
 * length fits. A component is complete only after all that it leads to, so that its layer can be told at once.
 * O(nodes + edges). Pure.
 *
 * @param edges for each node the nodes that it imports; itself and repetitions do no harm
 * @returns the layer of each node
 */
export function layersOf(edges: readonly (readonly number[])[]): Int32Array {
  const n = edges.length;
  const layer = new Int32Array(n).fill(-1);
  /** Order of the first visit, from 1; 0 is not visited. */
  const visit = new Int32Array(n);
  /** The earliest visit that a node leads back to. */
  const low = new Int32Array(n);
  const next_edge = new Int32Array(n);
  /** Visited nodes whose component is not complete. */
  const open: number[] = [];
  /** The walk from a root down to the current node. */
  const path: number[] = [];
  let visits = 0;

  const enter = (node: number): void => {
    visit[node] = low[node] = ++visits;
    open.push(node);
    path.push(node);
  };
  const leave = (node: number): void => {
    path.pop();
    if (low[node] === visit[node]) close(node, open, edges, layer);
    const above = path.at(-1);
    if (above !== undefined) low[above] = Math.min(low[above]!, low[node]!);
  };

  for (let root = 0; root < n; root++) {
    if (visit[root] === 0) enter(root);
    for (let node = path.at(-1); node !== undefined; node = path.at(-1)) {
      const target = edges[node]![next_edge[node]!++];
      if (target === undefined) leave(node);
      else if (visit[target] === 0) enter(target);
      else if (layer[target] === -1) low[node] = Math.min(low[node]!, visit[target]!);
    }
  }
  return layer;
}

/** Takes the component of `first` off the open nodes, and gives it its layer. */
function close(
  first: number,
  open: number[],
  edges: readonly (readonly number[])[],
  layer: Int32Array,
): void {
  const members = open.splice(open.lastIndexOf(first));
  let own = 0;
  for (const node of members) {
    // What has no layer yet is of this very component.
    for (const target of edges[node]!) own = Math.max(own, layer[target]! + 1);
  }
  for (const node of members) layer[node] = own;
}
