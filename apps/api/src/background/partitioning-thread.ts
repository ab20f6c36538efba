/**
 * The script of the background thread that partitions. Every plan waits for it, the first one for its start too: so it loads
 * no more than it needs.
 */
import { workerData } from 'node:worker_threads';
import { makeSegments, partitioners, type PartitionOrder, type SegmentDraft } from '#hxo';
import { serveBackground, type Handler } from '#adapters/background';
import { createWorkspace } from '#adapters/files';
import { createTargets } from '#adapters/sql';
import type { BackgroundOptions } from './options.js';

/** Segments sent at a time, and characters of shard lines after which fewer are. */
const part_segments = 8;
const part_chars = 2_000_000;

const {
  extra_executors,
  workspace: workspace_options,
  targets: target_options,
} = workerData as BackgroundOptions;
const catalogue = new Map(partitioners);
if (extra_executors.length > 0) {
  const { loadPartitioners } = await import('#executors');
  for (const partitioner of await loadPartitioners(extra_executors))
    catalogue.set(partitioner.name, partitioner);
}

async function partition(
  { partitioner: name, config, options, content }: PartitionOrder,
  emit: Parameters<Handler>[1],
  signal: AbortSignal,
): Promise<unknown> {
  const partitioner = catalogue.get(name)!;
  // Connections of its own: what a table is cut from is read in one transaction, and plans are cut side by side.
  const targets = createTargets(target_options);
  const context = { workspace: createWorkspace(workspace_options, signal), targets };
  const segments = makeSegments(partitioner, partitioner.parse(config), content, context, options);
  let part: SegmentDraft[] = [];
  for (;;) {
    const next = await segments.next();
    if (next.done !== true) part.push(next.value);
    const chars = part.reduce((sum, segment) => sum + segment.lines.length, 0);
    if (part.length > 0 && (next.done === true || part.length === part_segments || chars > part_chars)) {
      await emit(part);
      part = [];
    }
    if (next.done === true) return next.value;
  }
}

serveBackground({
  partition: (order, emit, signal) => partition(order as PartitionOrder, emit, signal),
});
