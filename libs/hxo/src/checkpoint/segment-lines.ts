import { parseDigest, sha256Stream, type Digest } from '#truth';
import type { Segment } from './checkpoint-store.js';

/** A shard's definition as its segment holds it. */
export interface ShardLine {
  readonly weight: number;
  readonly input_digests: readonly Digest[];
  /** Canonical JSON text. */
  readonly inputs: string;
}

/** SHA-256 over a segment's place, its content ids and its lines. */
export function segmentDigest(
  segment: Pick<Segment, 'first_ordinal' | 'count' | 'wave' | 'cas' | 'lines'>,
): Digest {
  const hash = sha256Stream();
  hash.update(Buffer.from(`${segment.first_ordinal} ${segment.count} ${segment.wave}\n`));
  hash.update(segment.cas);
  hash.update(Buffer.from(segment.lines));
  return hash.digest();
}

/**
 * One shard as a line: weight, tab, input digests in hex without separators, tab, inputs. Canonical JSON holds neither a
 * raw tab nor a raw line feed, so lines split without a parser.
 */
export function printShardLine(shard: ShardLine): string {
  return `${shard.weight}\t${shard.input_digests.join('')}\t${shard.inputs}\n`;
}

/** The shards of a segment's lines, in ordinal order. Throws when a line is not one. */
export function parseShardLines(lines: string): ShardLine[] {
  return lines.split('\n').slice(0, -1).map(parseShardLine);
}

function parseShardLine(line: string): ShardLine {
  const first = line.indexOf('\t');
  const second = line.indexOf('\t', first + 1);
  if (first < 0 || second < 0)
    throw new Error('A shard line has fewer than three fields: the checkpoint store is damaged.');
  const digests: Digest[] = [];
  for (let at = first + 1; at < second; at += 64)
    digests.push(parseDigest(line.slice(at, Math.min(at + 64, second))));
  return { weight: Number(line.slice(0, first)), input_digests: digests, inputs: line.slice(second + 1) };
}
